/** The one place that touches a descriptor. */

import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { type Handoff, handOff } from '../../src/listener/handoff.ts';

const HANDOFF: Handoff = {
  connectionId: 7,
  routeId: 1,
  encryption: 'negotiated',
  prefix: null,
  peer: '192.0.2.1:50000',
  localAddress: '192.0.2.2:6432',
  remainingMillis: 900,
};

/** A stream with a `_handle` whose `fd` counts how often it is read. */
function fakeSocket(fd: unknown, readAhead: string | null = null) {
  const stream = new PassThrough();
  if (readAhead !== null) {
    stream.write(readAhead);
  }
  const reads: unknown[] = [];
  const handle = {
    get fd() {
      reads.push(fd);
      return fd;
    },
  };
  const socket = Object.assign(stream, { _handle: handle }) as unknown as Socket;
  return { socket, reads };
}

describe('the hand-off', () => {
  it('reads the descriptor exactly once and destroys the socket after the adoption', () => {
    const { socket, reads } = fakeSocket(42);
    const calls: unknown[] = [];
    handOff(socket, HANDOFF, (fd, handoff) => calls.push([fd, handoff, socket.destroyed]));
    expect(calls).toEqual([[42, HANDOFF, false]]);
    expect(reads).toHaveLength(1);
    expect(socket.destroyed).toBe(true);
  });

  it.each([
    [null, null, null],
    ['first', null, 'first'],
    [null, 'second', 'second'],
    ['first', 'second', 'firstsecond'],
  ])('joins what was read before (%s) and what Node read ahead (%s)', (before, ahead, expected) => {
    const { socket } = fakeSocket(42, ahead);
    const prefixes: (string | null)[] = [];
    const prefix = before === null ? null : Buffer.from(before);
    handOff(socket, { ...HANDOFF, prefix }, (_fd, handoff) =>
      prefixes.push(handoff.prefix?.toString() ?? null),
    );
    expect(prefixes).toEqual([expected]);
  });

  it.each([-1, undefined, null, '3'])('throws a typed error for the descriptor %s', (fd) => {
    const { socket } = fakeSocket(fd);
    const adopt = () => expect.unreachable('nothing to adopt');
    expect(() => handOff(socket, HANDOFF, adopt)).toThrow(
      expect.objectContaining({ code: 'PGTLS_FD_UNAVAILABLE' }),
    );
  });

  it('throws a typed error for a socket without a handle', () => {
    const socket = new PassThrough() as unknown as Socket;
    expect(() => handOff(socket, HANDOFF, () => {})).toThrow(
      expect.objectContaining({ code: 'PGTLS_FD_UNAVAILABLE' }),
    );
  });

  it('leaves the socket to the caller when the adoption throws', () => {
    const { socket } = fakeSocket(42);
    const adopt = () => {
      throw new Error('no');
    };
    expect(() => handOff(socket, HANDOFF, adopt)).toThrow('no');
    expect(socket.destroyed).toBe(false);
    socket.destroy();
  });
});
