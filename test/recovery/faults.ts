import type { Dockerd } from '../testbed/dockerd.js'
import type { Scene } from '../faults/network/scene.js'

/** Something that breaks, and how it is made whole again. */
export interface Fault {
  readonly name: string
  /** Whether the link itself is lost; else only the streams are. */
  readonly losesLink: boolean
  readonly break: (scene: Scene, engine: Dockerd) => Promise<void>
  /** Resolves when nothing is wrong any more. */
  readonly mend: (scene: Scene, engine: Dockerd) => Promise<void>
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'reset (RST)',
    losesLink: true,
    break: ({ lab }) => lab.reset(),
    mend: ({ lab }) => lab.heal(),
  },
  {
    name: 'blackhole both ways',
    losesLink: true,
    break: ({ lab }) => lab.drop('both'),
    mend: ({ lab }) => lab.heal(),
  },
  {
    name: 'one way (inbound dropped)',
    losesLink: true,
    break: ({ lab }) => lab.drop('in'),
    mend: ({ lab }) => lab.heal(),
  },
  {
    name: 'sshd restart',
    losesLink: true,
    break: ({ sshd }) => sshd.stop(),
    mend: ({ sshd }) => sshd.restart(),
  },
  {
    name: 'engine restart (kill -9)',
    losesLink: false,
    break: (_, engine) => engine.kill(),
    mend: (_, engine) => engine.restart(),
  },
]
