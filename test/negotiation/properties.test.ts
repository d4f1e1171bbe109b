/** What holds for every byte sequence and every way of cutting it into reads. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Negotiator } from '../../src/negotiation/negotiator.ts';
import type { Encryption, NegotiationPolicy } from '../../src/negotiation/state.ts';
import { INITIAL_STATE, type NegotiationState } from '../../src/negotiation/state.ts';
import { transition } from '../../src/negotiation/transition.ts';
import { VECTORS } from './packets.ts';

const policies: fc.Arbitrary<NegotiationPolicy> = fc.record({
  sslmode: fc.constantFrom('disable', 'prefer', 'require', 'verify-ca'),
  sslnegotiation: fc.constantFrom('postgres', 'direct', 'any'),
});

const vectors = fc.constantFrom(...VECTORS.map(({ hex }) => Buffer.from(hex, 'hex')));
const bytes = fc.uint8Array({ maxLength: 64 }).map((array) => Buffer.from(array));
/** A golden packet with a byte or its length changed, or cut. */
const broken = fc
  .tuple(vectors, fc.nat(), fc.nat({ max: 255 }), fc.boolean())
  .map(([packet, position, byte, isCut]) => {
    const at = position % Math.min(packet.length, 12);
    const changed = Buffer.from(isCut ? packet.subarray(0, at + 1) : packet);
    changed[at] = byte;
    return changed;
  });
const packets = fc.oneof(
  { weight: 4, arbitrary: vectors },
  { weight: 2, arbitrary: broken },
  { weight: 1, arbitrary: bytes },
);
const cuts = fc.array(fc.nat({ max: 40 }), { maxLength: 40 });

/** Cuts into pieces of the given lengths, the last one takes the rest; lengths of 0 stay. */
function chop(whole: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  let offset = 0;
  for (const length of lengths) {
    pieces.push(whole.subarray(offset, offset + length));
    offset += length;
  }
  return [...pieces, whole.subarray(offset)];
}

/** Runs a client; each segment is sent in pieces, and its reply is written behind its last one. */
function negotiate(policy: NegotiationPolicy, segments: readonly Buffer[][]) {
  const taken: { encryption: Encryption; prefix: Buffer }[] = [];
  let isReplyPending = false;
  const negotiator = new Negotiator(policy, {
    reply: () => {
      isReplyPending = true;
    },
    handOff: (encryption, prefix) => taken.push({ encryption, prefix: prefix ?? Buffer.alloc(0) }),
    refuse: () => {},
    close: () => {},
  });
  const unread: Buffer[] = [];
  for (const segment of segments) {
    for (const piece of segment) {
      if (taken.length > 0) {
        unread.push(piece);
      } else {
        negotiator.handle({ type: 'bytes', bytes: piece });
      }
    }
    if (isReplyPending) {
      isReplyPending = false;
      negotiator.handle({ type: 'reply-written' });
    }
  }
  const [handOff] = taken;
  const forBackend = handOff && Buffer.concat([handOff.prefix, ...unread]).toString('hex');
  return { encryption: handOff?.encryption, forBackend, outcome: negotiator.outcome };
}

/** How a session may be protected, by the documentation of the two keys. */
function allowed({ sslmode, sslnegotiation }: NegotiationPolicy, isCancel: boolean): Encryption[] {
  const tls: Encryption[] = [];
  if (sslmode !== 'disable') {
    tls.push(...(sslnegotiation === 'direct' ? [] : (['negotiated'] as const)));
    tls.push(...(sslnegotiation === 'postgres' ? [] : (['direct'] as const)));
  }
  const mayBePlain = sslmode === 'disable' || sslmode === 'prefer' || isCancel;
  return mayBePlain ? [...tls, 'none'] : tls;
}

describe('every byte sequence', () => {
  it('ends the same way however it is cut, when the client waits for each reply', () => {
    const segments = fc.array(fc.tuple(packets, cuts), { maxLength: 5 });
    fc.assert(
      fc.property(policies, segments, (policy, parts) => {
        const whole = parts.map(([segment]) => [segment]);
        const cut = parts.map(([segment, lengths]) => chop(segment, lengths));
        expect(negotiate(policy, cut)).toEqual(negotiate(policy, whole));
      }),
      { numRuns: 2_000 },
    );
  });

  it('has the same outcome however it is cut, when the client waits for nothing', () => {
    fc.assert(
      fc.property(policies, fc.array(packets, { maxLength: 4 }), cuts, (policy, parts, lengths) => {
        const whole = Buffer.concat(parts);
        const cut = negotiate(policy, [chop(whole, lengths)]);
        expect(cut).toEqual(negotiate(policy, [[whole]]));
      }),
      { numRuns: 2_000 },
    );
  });

  it('never makes the state keep as much as one header', () => {
    const events = fc.array(
      fc.oneof(
        packets.map((piece) => ({ type: 'bytes', bytes: piece }) as const),
        bytes.map((piece) => ({ type: 'bytes', bytes: piece.subarray(0, 3) }) as const),
        fc.constant({ type: 'reply-written' } as const),
      ),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(policies, events, (policy, steps) => {
        let state: NegotiationState = INITIAL_STATE;
        for (const event of steps) {
          const next = transition(state, event, policy);
          state = next.state;
          expect(next.effects.length).toBeLessThanOrEqual(1);
          expect('buffered' in state ? state.buffered.length : 0).toBeLessThan(8);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('hands off no session that its policy does not allow, and every byte behind the negotiation', () => {
    const segments = fc.array(packets, { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(policies, segments, (policy, parts) => {
        const { encryption, forBackend, outcome } = negotiate(
          policy,
          parts.map((part) => [part]),
        );
        if (outcome?.type !== 'handed-off') {
          return;
        }
        expect(allowed(policy, outcome.isCancel)).toContain(encryption);
        expect(
          Buffer.concat(parts)
            .toString('hex')
            .endsWith(forBackend ?? ''),
        ).toBe(true);
        // What a session without TLS begins with is whole: nothing of it was taken for a request.
        if (encryption === 'none') {
          expect(forBackend?.slice(8, 16)).toMatch(outcome.isCancel ? /^04d2162e$/ : /^0003/);
        }
      }),
      { numRuns: 3_000 },
    );
  });

  it('ends within its first two requests and one header', () => {
    fc.assert(
      fc.property(policies, fc.array(packets, { minLength: 1, maxLength: 6 }), (policy, parts) => {
        const filler = Buffer.alloc(8, 0xff);
        const { outcome } = negotiate(
          policy,
          [...parts, filler, filler].map((part) => [part]),
        );
        expect(outcome).not.toBeNull();
      }),
      { numRuns: 1_000 },
    );
  });
});
