import { expect, test } from 'vitest'
import { theirServer } from './their-server.js'

const login = { SSH_USER: 'deploy', SSH_KEY: '/keys/id' }

test.each([
  { given: 'prod.example.com', host: 'prod.example.com', port: 22 },
  { given: 'prod.example.com:2222', host: 'prod.example.com', port: 2222 },
  { given: '[2001:db8::1]:2222', host: '2001:db8::1', port: 2222 },
  { given: '[2001:db8::1]', host: '2001:db8::1', port: 22 },
])('SSH_HOST=$given names a server', ({ given, host, port }) => {
  const expected = { host, port, user: 'deploy', keyFile: '/keys/id', remoteSocket: 'auto' }
  expect(theirServer({ SSH_HOST: given, ...login })).toMatchObject(expected)
})

test('without SSH_HOST there is no server of the user', () => {
  expect(theirServer({ ...login })).toBeUndefined()
})

test('SSH_HOST alone, or in another form, is refused with what is missing', () => {
  expect(() => theirServer({ SSH_HOST: 'prod' })).toThrow('set SSH_USER and SSH_KEY too')
  expect(() => theirServer({ SSH_HOST: '2001:db8::1', ...login })).toThrow('SSH_HOST must be host, host:port')
})
