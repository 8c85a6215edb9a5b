// Loaded into a supervisor before its own code (node --import): breaks it on demand, as only a bug of its own could.
import { existsSync } from 'node:fs'
import { Socket } from 'node:net'

if (process.argv.includes('__supervise') || process.argv.includes('--foreground')) {
  const { BREAKS_PORT, BREAKS_ALWAYS, DPROXY_RUNTIME_DIR } = process.env
  // In nobody's name: an exception, and a promise that nobody waits for.
  process.on('SIGUSR2', () => setImmediate(() => fail('broken on demand')))
  process.on('SIGPIPE', () => void Promise.reject(new Error('rejected on demand')))
  if (BREAKS_ALWAYS) setInterval(() => serves() && existsSync(BREAKS_ALWAYS) && fail('broken as always'), 300)
  const serves = () => existsSync(`${DPROXY_RUNTIME_DIR}/control.sock`)
  // In the code of one host: whenever its server says something, from the signal on or as long as a file stands.
  const emit = Reflect.get(Socket.prototype, 'emit')
  let breaks = 0
  process.on('SIGURG', () => (breaks += 1))
  Socket.prototype.emit = function (event, ...rest) {
    if (event === 'data' && BREAKS_PORT && String(this.remotePort) === BREAKS_PORT && breaks > 0) {
      if (!existsSync(`${process.env.TESTBED}/breaks-on`)) breaks -= 1
      fail('the lane broke')
    }
    return emit.call(this, event, ...rest)
  }
}

function fail(why) {
  throw new TypeError(why)
}
