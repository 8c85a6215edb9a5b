import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { describeWith } from '../../testbed/describe-with.js'
import { Desk } from './support.js'

const run = promisify(execFile)

describeWith(['sshd'], "what only the system's ssh can do", () => {
  test.each([
    ['KnownHostsCommand /bin/true %H', /KnownHostsCommand/u],
    ['VerifyHostKeyDNS yes', /VerifyHostKeyDNS/u],
    ['CheckHostIP yes', /CheckHostIP/u],
    ['RequiredRSASize 3072', /RequiredRSASize refuses RSA keys under 3072 bits/u],
    ['HostbasedAuthentication yes', /HostbasedAuthentication/u],
    ['PKCS11Provider /usr/lib/token.so', /PKCS11Provider/u],
    ['BindAddress 127.0.0.2', /BindAddress/u],
    ['ProxyUseFdpass yes\n  ProxyCommand nc -F %h %p', /ProxyUseFdpass/u],
    ['PreferredAuthentications gssapi-with-mic,hostbased', /no way of logging in/u],
    ['HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com', /HostKeyAlgorithms are none/u],
    ['KexAlgorithms sntrup761x25519-sha512@openssh.com', /KexAlgorithms are none/u],
    ['MACs umac-128-etm@openssh.com', /MACs are none/u],
    ['GSSAPIAuthentication yes', /GSSAPI/u],
  ])('is left to it, with the reason: %s', async (line, why) => {
    await using desk = await Desk.create(`Host prod\n  ${line}\n`)
    const env = { KRB5CCNAME: desk.path('ticket') }
    expect((await desk.resolve('prod', {}, env)).onlyOpenssh).toMatch(why)
    expect((await desk.resolve('other', {}, env)).onlyOpenssh).toBeNull()
  })

  test.each([
    'KnownHostsCommand none',
    'PKCS11Provider none',
    'VerifyHostKeyDNS ask',
    'CheckHostIP no',
    'RequiredRSASize 1024',
    'ProxyUseFdpass yes',
    'StrictHostKeyChecking no',
    'PreferredAuthentications publickey\n  GSSAPIAuthentication yes',
    'HostbasedAuthentication yes\n  PreferredAuthentications publickey',
  ])('is not seen in: %s', async (line) => {
    await using desk = await Desk.create(`Host prod\n  ${line}\n`)
    const env = { KRB5CCNAME: desk.path('ticket') }
    expect((await desk.resolve('prod', {}, env)).onlyOpenssh).toBeNull()
  })

  test('is a certificate beside an identity file, or one that is named', async () => {
    await using desk = await Desk.create()
    const [key, ca] = [desk.path('key'), desk.path('ca')]
    for (const file of [key, ca]) await keygen('-t', 'ed25519', '-N', '', '-f', file)
    await desk.write('config', `IdentityFile ${desk.dir}/%n\n`)
    expect((await desk.resolve('key')).onlyOpenssh).toBeNull()
    await keygen('-s', ca, '-I', 'me', '-n', 'me', `${key}.pub`)
    expect((await desk.resolve('key')).onlyOpenssh).toBe(`its identity has a certificate (${key}-cert.pub)`)
    expect((await desk.resolve('other', { identityFiles: [key] })).onlyOpenssh).toMatch(/certificate/u)

    await desk.write('config', `IdentityFile ${ca}\nCertificateFile ${desk.dir}/%n-cert.pub\n`)
    expect((await desk.resolve('key')).onlyOpenssh).toMatch(/key-cert\.pub/u)
    expect((await desk.resolve('none-such')).onlyOpenssh).toBeNull()
  })

  test('is a security key', async () => {
    await using desk = await Desk.create()
    const key = await desk.write('key_sk', '-----BEGIN OPENSSH PRIVATE KEY-----\n')
    await desk.write('key_sk.pub', `sk-ssh-ed25519@openssh.com AAAA${'A'.repeat(60)} me@here\n`)
    expect((await desk.resolve('prod', { identityFiles: [key] })).onlyOpenssh).toBe(
      `its identity is a security key (${key})`,
    )
  })

  test('is a binary list of revoked keys, but not a plain one', async () => {
    await using desk = await Desk.create()
    const key = desk.path('key')
    await keygen('-t', 'ed25519', '-N', '', '-f', key)
    await keygen('-k', '-f', desk.path('binary'), `${key}.pub`)
    await desk.write('config', `RevokedHostKeys ${desk.dir}/%h\n`)
    for (const [name, why] of [
      ['binary', 'its RevokedHostKeys is a binary list (KRL)'],
      ['key.pub', null],
    ] as const) {
      await desk.write('config', `RevokedHostKeys ${desk.path(name)}\n`)
      expect(await desk.resolve('prod')).toMatchObject({
        revokedHostKeysFile: desk.path(name),
        onlyOpenssh: why,
      })
    }
  })
})

describeWith(['sshd'], "the algorithms that ssh's configuration chooses", () => {
  test.each([
    [
      'Ciphers ^aes128-ctr',
      { cipher: expect.arrayContaining(['aes128-ctr', 'aes256-gcm@openssh.com']) as string[] },
    ],
    ['Ciphers aes256-ctr,aes128-ctr', { cipher: ['aes256-ctr', 'aes128-ctr'] }],
    ['KexAlgorithms sntrup761x25519-sha512@openssh.com,ecdh-sha2-nistp256', { kex: ['ecdh-sha2-nistp256'] }],
    ['MACs umac-64@openssh.com,hmac-sha2-512', { hmac: ['hmac-sha2-512'] }],
    ['HostKeyAlgorithms rsa-sha2-256,ssh-ed25519', { serverHostKey: ['rsa-sha2-256', 'ssh-ed25519'] }],
  ])('count in their order, as far as ssh2 has them: %s', async (line, algorithms) => {
    await using desk = await Desk.create(`Host prod\n  ${line}\n`)
    expect(await desk.resolve('prod')).toMatchObject({ algorithms, onlyOpenssh: null })
    expect(await desk.resolve('other')).toMatchObject({ algorithms: {} })
  })

  test('are those of ssh2 without one that was taken away, and with an old one that was added', async () => {
    await using desk = await Desk.create(
      'HostKeyAlgorithms -ssh-ed25519\nKexAlgorithms +diffie-hellman-group14-sha1\n',
    )
    const { algorithms } = await desk.resolve('prod')
    expect(algorithms.serverHostKey).toEqual(expect.arrayContaining(['ecdsa-sha2-nistp256', 'rsa-sha2-512']))
    expect(algorithms.serverHostKey).not.toContain('ssh-ed25519')
    expect(algorithms.kex?.[0]).toBe('curve25519-sha256')
    expect(algorithms.kex?.at(-1)).toBe('diffie-hellman-group14-sha1')
    expect(Object.keys(algorithms).toSorted()).toEqual(['kex', 'serverHostKey'])
  })
})

const keygen = (...words: string[]) => run('ssh-keygen', ['-q', ...words])
