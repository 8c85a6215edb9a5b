import type { RawLane } from '../raw-lane.js'
import { DEFAULT_REMOTE_SOCKET } from './remote-socket.js'

/** The path of the engine's socket on the remote machine, for who did not say where it is. */
export const locate = async (_raw: RawLane): Promise<string> => DEFAULT_REMOTE_SOCKET
