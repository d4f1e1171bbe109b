/** What no client can bring about, whatever it sends and however its bytes are cut: all of these hold for every policy. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  MAX_PACKET_BYTES,
  MIN_PACKET_BYTES,
  readPacketHeader,
} from '../../src/negotiation/packet.ts';
import {
  INITIAL_STATE,
  type NegotiationEffect,
  type NegotiationEvent,
  type NegotiationOutcome,
  type NegotiationPolicy,
  type NegotiationState,
} from '../../src/negotiation/state.ts';
import { transition } from '../../src/negotiation/transition.ts';
import { GSSENC_REQUEST, SSL_REQUEST, VECTORS } from './packets.ts';

const policies: fc.Arbitrary<NegotiationPolicy> = fc.record({
  sslmode: fc.constantFrom('disable', 'prefer', 'require', 'verify-ca'),
  sslnegotiation: fc.constantFrom('postgres', 'direct', 'any'),
});
const vectors = fc.constantFrom(...VECTORS.map(({ hex }) => Buffer.from(hex, 'hex')));
const noise = fc.uint8Array({ minLength: 1, maxLength: 48 }).map((array) => Buffer.from(array));
/** Never nothing. */
const hostile = fc
  .oneof(noise, vectors, fc.tuple(vectors, noise).map(joined))
  .filter(({ length }) => length > 0);

/** The events that can come in any order. */
const events: fc.Arbitrary<NegotiationEvent> = fc.oneof(
  { weight: 6, arbitrary: hostile.map((bytes) => ({ type: 'bytes', bytes }) as const) },
  { weight: 3, arbitrary: fc.constant({ type: 'reply-written' } as const) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('client-ended', 'socket-failed', 'deadline-passed', 'shutdown')
      .map((type) => ({ type }) as const),
  },
);

interface Run {
  readonly effects: readonly NegotiationEffect[];
  readonly outcome: NegotiationOutcome | null;
}

function run(policy: NegotiationPolicy, steps: readonly NegotiationEvent[]): Run {
  let state: NegotiationState = INITIAL_STATE;
  const effects: NegotiationEffect[] = [];
  for (const event of steps) {
    const next = transition(state, event, policy);
    state = next.state;
    effects.push(...next.effects);
  }
  return { effects, outcome: state.type === 'finished' ? state.outcome : null };
}

function joined(parts: readonly Buffer[]): Buffer {
  return Buffer.concat(parts);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function pieces(whole: Buffer, lengths: readonly number[]): NegotiationEvent[] {
  const found: NegotiationEvent[] = [];
  let offset = 0;
  for (const length of [...lengths, whole.length]) {
    found.push({ type: 'bytes', bytes: whole.subarray(offset, offset + length) });
    offset += length;
  }
  return found;
}

describe('whatever a client sends', () => {
  it('nothing is thrown, and what is refused has an SQLSTATE and words, or goes to a TLS client', () => {
    fc.assert(
      fc.property(policies, fc.array(events, { maxLength: 12 }), (policy, steps) => {
        const { outcome } = run(policy, steps);
        if (outcome?.type !== 'refused') {
          return;
        }
        if (outcome.error === null) {
          expect(outcome.reason).toBe('direct_tls_refused');
        } else {
          expect(outcome.error.sqlstate).toMatch(/^[0-9A-Z]{5}$/);
          expect(outcome.error.message).toMatch(/^[\x20-\x7e]+$/);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  it('there is one end, and nothing is done after it', () => {
    const ends: readonly NegotiationEffect['type'][] = ['hand-off', 'refuse', 'close'];
    fc.assert(
      fc.property(policies, fc.array(events, { maxLength: 12 }), (policy, steps) => {
        const types = run(policy, steps).effects.map(({ type }) => type);
        const end = types.findIndex((type) => ends.includes(type));
        expect(end === -1 || end === types.length - 1).toBe(true);
      }),
      { numRuns: 3_000 },
    );
  });
});

describe('a length outside of 8 to 10,000', () => {
  const lengths = fc
    .oneof(
      fc.integer({ min: 0, max: MIN_PACKET_BYTES - 1 }),
      fc.integer({ min: MAX_PACKET_BYTES + 1, max: 0xffff_ffff }),
      fc.integer({ min: MAX_PACKET_BYTES + 1, max: MAX_PACKET_BYTES + 64 }),
    )
    // The first byte of a TLS record, and a Terminate message: no lengths.
    .filter((length) => length >>> 24 !== 0x16 && length !== 0x5800_0000);

  it('is refused with 08P01 as soon as it is read, whatever stands behind it and however it is cut', () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 6 });
    fc.assert(
      fc.property(policies, lengths, fc.option(noise), cuts, (policy, length, rest, where) => {
        const bytes = joined([uint32(length), rest ?? Buffer.alloc(0)]);
        expect(run(policy, pieces(bytes, where)).outcome).toMatchObject({
          type: 'refused',
          reason: 'invalid_length',
          error: { sqlstate: '08P01' },
        });
      }),
      { numRuns: 3_000 },
    );
  });

  it('is what the header says, and no length within is', () => {
    fc.assert(
      fc.property(lengths, fc.integer({ min: 0, max: 0xffff_ffff }), (length, code) => {
        const header = readPacketHeader(joined([uint32(length), uint32(code)]));
        expect(header).toEqual({ kind: 'invalid', reason: 'length', length });
      }),
    );
    const within = fc.integer({ min: MIN_PACKET_BYTES, max: MAX_PACKET_BYTES });
    fc.assert(
      fc.property(within, fc.integer({ min: 0, max: 0xffff_ffff }), (length, code) => {
        const header = readPacketHeader(joined([uint32(length), uint32(code)]));
        expect(header).not.toMatchObject({ reason: 'length' });
      }),
    );
  });
});

describe('bytes that come with or behind a request, before its answer (CVE-2021-23214)', () => {
  const requests = fc.constantFrom(SSL_REQUEST, GSSENC_REQUEST);
  const tlsIsNegotiated = policies.filter(
    ({ sslmode, sslnegotiation }) => sslmode === 'disable' || sslnegotiation !== 'direct',
  );

  it('end the connection with 08P01, in the same read or in a later one', () => {
    const isApart = fc.boolean();
    fc.assert(
      fc.property(
        tlsIsNegotiated,
        requests,
        hostile,
        isApart,
        (policy, request, stuffed, apart) => {
          const sent = apart ? [request, stuffed] : [joined([request, stuffed])];
          const steps = sent.map((bytes) => ({ type: 'bytes', bytes }) as const);
          const { effects, outcome } = run(policy, [...steps, { type: 'reply-written' }]);
          expect(outcome).toMatchObject({ reason: 'stuffed_bytes', error: { sqlstate: '08P01' } });
          expect(effects.map(({ type }) => type)).not.toContain('hand-off');
        },
      ),
      { numRuns: 3_000 },
    );
  });

  it('also behind the second request, once the first one was answered with N', () => {
    fc.assert(
      fc.property(hostile, fc.boolean(), (stuffed, sslFirst) => {
        const order = sslFirst ? [SSL_REQUEST, GSSENC_REQUEST] : [GSSENC_REQUEST, SSL_REQUEST];
        const policy = { sslmode: 'disable', sslnegotiation: 'any' } as const;
        const steps: NegotiationEvent[] = [
          { type: 'bytes', bytes: order[0] as Buffer },
          { type: 'reply-written' },
          { type: 'bytes', bytes: joined([order[1] as Buffer, stuffed]) },
        ];
        expect(run(policy, steps).outcome).toMatchObject({ reason: 'stuffed_bytes' });
      }),
    );
  });
});
