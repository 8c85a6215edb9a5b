/** A place to log in to: `user` and `port` are null where ssh's own configuration decides. */
interface Place {
  readonly destination: string
  readonly user: string | null
  readonly port: number | null
}

/** `ssh://[user@]host[:port]`, an IPv6 address in brackets. */
export const sshUrl = ({ destination, user, port }: Place): string => {
  // RFC 6874 writes the "%" before a zone as "%25".
  const host = destination.includes(':') ? `[${destination.replace('%', '%25')}]` : destination
  return `ssh://${user === null ? '' : `${encodeURIComponent(user)}@`}${host}${port === null ? '' : `:${port}`}`
}

/** `[user@]host[:port]`, the way a place is shown before anything is known of it but its name. */
export const placeText = ({ destination, user, port }: Place): string =>
  `${user === null ? '' : `${user}@`}${destination}${port === null ? '' : `:${port}`}`
