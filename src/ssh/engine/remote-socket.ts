/** Where the Docker engine listens unless told otherwise (dockerd(8)). */
export const DEFAULT_REMOTE_SOCKET = '/var/run/docker.sock'
