import type { Forwarding } from '../forwarding.js'

/** A command there that connects its input and output to a Unix socket. */
export interface Command {
  readonly method: Exclude<Forwarding['method'], 'streamlocal'>
  /** What the remote shell is given: a constant. The first line of input is the path, the rest the client's bytes. */
  readonly line: string
  /** What {@link FIND_COMMANDS} says when it is there. */
  readonly found: string
  /** What it cannot do, as a clause; null: it carries all that a Docker client does. */
  readonly flaw: string | null
  /** What it says on its error output when the engine has ended, but it has not; null: it ends too. */
  readonly engineEnded: RegExp | null
  /** Whether it takes the path for what it is. */
  readonly takes: (path: string) => boolean
}

// No word of a config is ever part of a command (promise 10). The scripts stand in single quotes and hold neither
// quotes of that kind, backslashes nor newlines, so that every login shell in use hands them to sh unread, fish and
// tcsh included.

// What a command started over SSH finds there, and the places that are only in the PATH of a login.
const SEARCH = 'PATH=$PATH:/usr/local/bin:/opt/homebrew/bin:/snap/bin'

// sshd ends no command when its channel is closed: it closes the pipes to it, and a command that waits for the
// engine notices nothing, and keeps its place among MaxSessions (session.c, session_close_by_channel). Only who
// writes learns that nobody reads any more, so an empty line on the error output goes out now and then.
const WATCH =
  'quit() { test -z "$z" || kill $! 2>/dev/null; exit; }; ' +
  'watch() { z=; trap "" PIPE; trap quit TERM; while :; do ' +
  'z=1; sleep 5 </dev/null >/dev/null 2>&1 & wait $!; z=; echo >&2 || break; done; kill -9 $c; }'

/**
 * Reads the path into `p`, byte by byte as read(1) of POSIX must on a pipe, so that what follows is left to the
 * command; runs it, and ends as it does. Its output is the command's alone, so that it ends when the command says.
 */
const script = (command: string): string =>
  `sh -c '${SEARCH}; ${WATCH}; IFS= read -r p || exit 1; exec 3<&0; ` +
  `${command} <&3 3<&- & c=$!; (watch) </dev/null >/dev/null 3<&- & w=$!; ` +
  `exec </dev/null >/dev/null 3<&-; wait $c; s=$?; kill $w 2>/dev/null; exit $s'`

/** All that we know, in the order in which they are tried. */
export const COMMANDS: readonly Command[] = [
  {
    method: 'docker system dial-stdio',
    line: script('DOCKER_HOST="unix://$p" DOCKER_TLS_VERIFY= DOCKER_TLS= docker system dial-stdio'),
    found: 'dproxy-docker',
    flaw: null,
    engineEnded: null,
    // docker/cli reads it as a URL first, and trims it (connhelper.go, opts/hosts.go).
    takes: (path) => !/%|:\/\/|\s$/u.test(path),
  },
  {
    method: 'socat',
    // 23 days, the most that its milliseconds hold: how long one direction may go on after the other has ended.
    line: script('socat -d -d -t 2000000 - "UNIX-CONNECT:$p"'),
    found: 'dproxy-socat',
    flaw: null,
    // A notice (-d -d). sshd itself tells of no end of the output while anybody holds the error output.
    engineEnded: / N socket 2 \(fd \d+\) is at EOF/u,
    // These mean something in its addresses (socat(1), ADDRESS SPECIFICATIONS).
    takes: (path) => !/[,:!"'\\()[\]{}]/u.test(path),
  },
  // OpenBSD's own, in Debian and others: without -N it never tells the engine that a client has ended.
  nc('dproxy-nc-N', 'nc -N -U "$p"'),
  // Nmap's, in Red Hat's systems: it does so by itself.
  nc('dproxy-nc-U', 'nc -U "$p"'),
]

/** Tells which of them there are. busybox and the traditional nc know no Unix sockets, and say so in their help. */
export const FIND_COMMANDS =
  `sh -c '${SEARCH}; ` +
  'case $(docker system dial-stdio --help </dev/null 2>/dev/null) in *"docker system dial-stdio"*) echo dproxy-docker;; esac; ' +
  'case $(socat -V </dev/null 2>/dev/null) in *socat*) echo dproxy-socat;; esac; ' +
  "case $(nc -h </dev/null 2>&1) in *-N*hutdown*-U*) echo dproxy-nc-N;; *-U*) echo dproxy-nc-U;; esac'"

function nc(found: string, command: string): Command {
  return {
    method: 'nc',
    line: script(command),
    found,
    flaw: 'nc notices that the engine has ended only when the client has ended too',
    engineEnded: null,
    takes: () => true,
  }
}
