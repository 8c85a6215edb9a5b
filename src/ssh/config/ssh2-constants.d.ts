/** What ssh2 was found to be able to do on this machine; its own types leave the file out. */
declare module 'ssh2/lib/protocol/constants.js' {
  const constants: {
    readonly SUPPORTED_KEX: readonly string[]
    readonly SUPPORTED_CIPHER: readonly string[]
    readonly SUPPORTED_MAC: readonly string[]
    readonly SUPPORTED_SERVER_HOST_KEY: readonly string[]
  }
  export default constants
}
