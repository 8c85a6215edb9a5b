"""tun-relay.py DEVICE NETNS NETNS FAULTS

Opens a TUN device in each of two network namespaces, given by their paths, and carries packets between the two.
FAULTS says what happens to each packet, as JSON (see tun-relay.ts). Prints "ready" when both devices are there, and
runs until a signal ends it. Needs root and /dev/net/tun; see networking/tuntap.rst of the kernel's documentation.
"""

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time

# <linux/if_tun.h>, <linux/sched.h>; os.setns is newer than the Pythons we meet.
TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def enter(path):
    """Moves this process into a network namespace; file descriptors keep belonging to theirs."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f'setns {path}')
    finally:
        os.close(fd)


def open_tun(path, device):
    enter(path)
    fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack('16sH', device.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def arrivals(faults, now):
    """When a packet that was sent now arrives: not at all, once or twice."""
    if random.random() < faults.get('loss', 0):
        return []
    late = faults.get('delayMs', 0) + random.uniform(-1, 1) * faults.get('jitterMs', 0)
    if random.random() < faults.get('reorder', 0):
        late = 0
    times = 2 if random.random() < faults.get('duplicate', 0) else 1
    return [now + max(late, 0) / 1000] * times


def packets(fd):
    # Not for ever: what is due must go out as well.
    for _ in range(64):
        try:
            yield os.read(fd, 65535)
        except BlockingIOError:
            return


def main():
    device, near, far, faults = sys.argv[1:]
    faults = json.loads(faults)
    one, other = open_tun(near, device), open_tun(far, device)
    print('ready', flush=True)
    due, count = [], 0
    while True:
        wait = max(due[0][0] - time.monotonic(), 0) if due else None
        readable, _, _ = select.select([one, other], [], [], wait)
        for fd in readable:
            out = other if fd == one else one
            for packet in packets(fd):
                for at in arrivals(faults, time.monotonic()):
                    # The count keeps those of the same moment in order.
                    count += 1
                    heapq.heappush(due, (at, count, out, packet))
        while due and due[0][0] <= time.monotonic():
            _, _, fd, packet = heapq.heappop(due)
            try:
                os.write(fd, packet)
            except OSError:
                # The device is down or full: a packet lost, as on any wire.
                pass


main()
