/**
 * The transitions of the start-up negotiation, one row each: what the client does step by step, and
 * how it ends. A step is bytes in one read, or an event; replies are written when `written` is
 * reached, never by themselves.
 */
import { describe, expect, it } from 'vitest';
import type {
  NegotiationEffect,
  NegotiationEvent,
  NegotiationPolicy,
  NegotiationState,
} from '../../src/negotiation/state.ts';
import { INITIAL_STATE } from '../../src/negotiation/state.ts';
import { transition } from '../../src/negotiation/transition.ts';
import {
  CANCEL_REQUEST,
  CLIENT_HELLO,
  GSSENC_REQUEST,
  packet,
  SSL_REQUEST,
  STARTUP,
} from './packets.ts';

type Step = Buffer | Exclude<NegotiationEvent['type'], 'bytes'>;

const DISABLE: NegotiationPolicy = { sslmode: 'disable', sslnegotiation: 'postgres' };
const PREFER: NegotiationPolicy = { sslmode: 'prefer', sslnegotiation: 'any' };
const REQUIRE: NegotiationPolicy = { sslmode: 'require', sslnegotiation: 'any' };
const VERIFY_CA: NegotiationPolicy = { sslmode: 'verify-ca', sslnegotiation: 'any' };
const POSTGRES: NegotiationPolicy = { sslmode: 'require', sslnegotiation: 'postgres' };
const DIRECT: NegotiationPolicy = { sslmode: 'require', sslnegotiation: 'direct' };
const WRITTEN = 'reply-written';

function run(policy: NegotiationPolicy, steps: readonly Step[]) {
  let state: NegotiationState = INITIAL_STATE;
  const effects: NegotiationEffect[] = [];
  for (const step of steps) {
    const event: NegotiationEvent =
      typeof step === 'string' ? { type: step } : { type: 'bytes', bytes: step };
    const next = transition(state, event, policy);
    state = next.state;
    effects.push(...next.effects);
  }
  return { state, effects };
}

/** Effects and end as one line: "N, S, hand-off negotiated", "refuse 08P01 stuffed_bytes". */
function summary(policy: NegotiationPolicy, steps: readonly Step[]): string {
  const { state, effects } = run(policy, steps);
  const words = effects.map((effect) => {
    switch (effect.type) {
      case 'reply':
        return effect.reply;
      case 'hand-off':
        return `hand-off ${effect.encryption}`;
      case 'refuse':
        return `refuse ${effect.error?.sqlstate ?? 'silently'}`;
      default:
        return effect.type;
    }
  });
  if (state.type !== 'finished') {
    return [...words, `then ${state.type}`].join(', ');
  }
  const { outcome } = state;
  return [...words, ...(outcome.type === 'handed-off' ? [] : [outcome.reason])].join(', ');
}

function bytewise(bytes: Buffer): Buffer[] {
  return [...bytes].map((byte) => Buffer.from([byte]));
}

const both = (first: Buffer, second: Buffer) => Buffer.concat([first, second]);

describe('an SSLRequest', () => {
  it.each<[string, NegotiationPolicy, Step[], string]>([
    ['is answered with S', REQUIRE, [SSL_REQUEST], 'S, then ssl-request-detected'],
    [
      'leads to the hand-off once S is written',
      REQUIRE,
      [SSL_REQUEST, WRITTEN],
      'S, hand-off negotiated',
    ],
    [
      'may arrive byte by byte',
      REQUIRE,
      [...bytewise(SSL_REQUEST), WRITTEN],
      'S, hand-off negotiated',
    ],
    [
      'is answered with S where TLS is optional',
      PREFER,
      [SSL_REQUEST, WRITTEN],
      'S, hand-off negotiated',
    ],
    [
      'is answered with N where TLS is disabled',
      DISABLE,
      [SSL_REQUEST, WRITTEN],
      'N, then responded-to-client',
    ],
    [
      'may be followed by plaintext after N',
      DISABLE,
      [SSL_REQUEST, WRITTEN, STARTUP],
      'N, hand-off none',
    ],
    [
      'is refused with bytes in the same read',
      REQUIRE,
      [both(SSL_REQUEST, CLIENT_HELLO)],
      'refuse 08P01, stuffed_bytes',
    ],
    [
      'is refused with one byte in the same read',
      REQUIRE,
      [both(SSL_REQUEST, Buffer.from([0]))],
      'refuse 08P01, stuffed_bytes',
    ],
    [
      'is refused when bytes arrive before S is written',
      REQUIRE,
      [SSL_REQUEST, CLIENT_HELLO],
      'S, refuse 08P01, stuffed_bytes',
    ],
    [
      'is refused with bytes behind it even where the answer is N',
      DISABLE,
      [both(SSL_REQUEST, STARTUP)],
      'refuse 08P01, stuffed_bytes',
    ],
    [
      'is refused when bytes arrive before N is written',
      DISABLE,
      [SSL_REQUEST, STARTUP],
      'N, refuse 08P01, stuffed_bytes',
    ],
    [
      'is answered once only',
      DISABLE,
      [SSL_REQUEST, WRITTEN, SSL_REQUEST],
      'N, refuse 08P01, repeated_request',
    ],
    [
      'is refused where only direct TLS is allowed',
      DIRECT,
      [SSL_REQUEST],
      'refuse 28000, negotiated_tls_refused',
    ],
    [
      'is refused so whatever is stuffed behind it',
      DIRECT,
      [both(SSL_REQUEST, CLIENT_HELLO)],
      'refuse 28000, negotiated_tls_refused',
    ],
    [
      'with a body is refused',
      REQUIRE,
      [packet('SSLRequest whose length claims a body')],
      'refuse 08P01, invalid_length',
    ],
  ])('%s', (_name, policy, steps, expected) => {
    expect(summary(policy, steps)).toBe(expected);
  });

  it('hands off without a prefix, since nothing behind it was read', () => {
    expect(run(REQUIRE, [SSL_REQUEST, WRITTEN]).effects.at(-1)).toEqual({
      type: 'hand-off',
      encryption: 'negotiated',
      prefix: null,
    });
  });
});

describe('a GSSENCRequest', () => {
  it.each<[string, NegotiationPolicy, Step[], string]>([
    ['is answered with N', REQUIRE, [GSSENC_REQUEST, WRITTEN], 'N, then responded-to-client'],
    [
      'may be followed by an SSLRequest',
      REQUIRE,
      [GSSENC_REQUEST, WRITTEN, SSL_REQUEST, WRITTEN],
      'N, S, hand-off negotiated',
    ],
    [
      'may be followed by an SSLRequest byte by byte',
      REQUIRE,
      [...bytewise(GSSENC_REQUEST), WRITTEN, ...bytewise(SSL_REQUEST), WRITTEN],
      'N, S, hand-off negotiated',
    ],
    [
      'may follow a refused SSLRequest',
      DISABLE,
      [SSL_REQUEST, WRITTEN, GSSENC_REQUEST, WRITTEN, STARTUP],
      'N, N, hand-off none',
    ],
    [
      'may be followed by plaintext',
      PREFER,
      [GSSENC_REQUEST, WRITTEN, STARTUP],
      'N, hand-off none',
    ],
    [
      'is refused with an SSLRequest in the same read',
      REQUIRE,
      [both(GSSENC_REQUEST, SSL_REQUEST)],
      'refuse 08P01, stuffed_bytes',
    ],
    [
      'is refused when bytes arrive before N is written',
      REQUIRE,
      [GSSENC_REQUEST, SSL_REQUEST],
      'N, refuse 08P01, stuffed_bytes',
    ],
    [
      'is answered once only',
      REQUIRE,
      [GSSENC_REQUEST, WRITTEN, GSSENC_REQUEST],
      'N, refuse 08P01, repeated_request',
    ],
    [
      'is answered once only, also around an SSLRequest',
      DISABLE,
      [GSSENC_REQUEST, WRITTEN, SSL_REQUEST, WRITTEN, GSSENC_REQUEST],
      'N, N, refuse 08P01, repeated_request',
    ],
    [
      'cannot be followed by direct TLS',
      REQUIRE,
      [GSSENC_REQUEST, WRITTEN, CLIENT_HELLO],
      'N, refuse 08P01, invalid_length',
    ],
  ])('%s', (_name, policy, steps, expected) => {
    expect(summary(policy, steps)).toBe(expected);
  });
});

describe('a plaintext StartupMessage', () => {
  const header = STARTUP.subarray(0, 8);
  it.each<[string, NegotiationPolicy, Step[], string]>([
    ['is handed off where TLS is optional', PREFER, [STARTUP], 'hand-off none'],
    ['is handed off where TLS is disabled', DISABLE, [STARTUP], 'hand-off none'],
    ['is handed off as soon as its header is there', PREFER, [header], 'hand-off none'],
    [
      'is awaited until its header is complete',
      PREFER,
      [STARTUP.subarray(0, 7)],
      'then awaiting-initial-bytes',
    ],
    ['may arrive byte by byte', PREFER, bytewise(STARTUP), 'hand-off none'],
    [
      'of any minor version passes',
      PREFER,
      [
        packet(
          'StartupMessage of the unassigned version 3.9999, which the backend negotiates down',
        ),
      ],
      'hand-off none',
    ],
    [
      'of 10000 bytes passes',
      PREFER,
      [packet('StartupMessage of exactly 10000 bytes')],
      'hand-off none',
    ],
    ['is refused where TLS is required', REQUIRE, [STARTUP], 'refuse 28000, tls_required'],
    [
      'is refused where a client certificate is required',
      VERIFY_CA,
      [STARTUP],
      'refuse 28000, tls_required',
    ],
    [
      'is refused after a GSSENCRequest where TLS is required',
      REQUIRE,
      [GSSENC_REQUEST, WRITTEN, STARTUP],
      'N, refuse 28000, tls_required',
    ],
    [
      'of protocol 2.0 is refused',
      PREFER,
      [packet('StartupMessage of protocol 2.0')],
      'refuse 0A000, unsupported_protocol',
    ],
    [
      'of protocol 4.0 is refused',
      PREFER,
      [packet('StartupMessage of protocol 4.0')],
      'refuse 0A000, unsupported_protocol',
    ],
    [
      'of protocol 2.0 is told so even where TLS is required',
      REQUIRE,
      [packet('StartupMessage of protocol 2.0')],
      'refuse 0A000, unsupported_protocol',
    ],
  ])('%s', (_name, policy, steps, expected) => {
    expect(summary(policy, steps)).toBe(expected);
  });

  it('goes along as the prefix, with whatever was read behind it', () => {
    const bytes = both(STARTUP, Buffer.from('more'));
    expect(run(PREFER, [bytes.subarray(0, 3), bytes.subarray(3)]).effects).toEqual([
      { type: 'hand-off', encryption: 'none', prefix: bytes },
    ]);
  });

  it.each([
    [REQUIRE, 'Connect with sslmode=require or stronger.'],
    [DIRECT, 'Connect with sslmode=require or stronger, sslnegotiation=direct.'],
    [VERIFY_CA, 'Connect with sslmode=require or stronger, sslcert and sslkey.'],
  ])('that is refused names the fix (%o)', (policy, hint) => {
    const [effect] = run(policy, [STARTUP]).effects;
    expect(effect).toMatchObject({ type: 'refuse', error: { sqlstate: '28000', hint } });
  });

  it('of protocol 2.0 is refused in the words of PostgreSQL', () => {
    const [effect] = run(PREFER, [packet('StartupMessage of protocol 2.0')]).effects;
    const message = 'unsupported frontend protocol 2.0: server supports 3.0 to 3.2';
    expect(effect).toMatchObject({ error: { message } });
  });
});

describe('a CancelRequest', () => {
  it.each<[string, NegotiationPolicy, Step[], string]>([
    [
      'in plaintext is handed off even where TLS is required',
      VERIFY_CA,
      [CANCEL_REQUEST],
      'hand-off none',
    ],
    ['is handed off where TLS is disabled', DISABLE, [CANCEL_REQUEST], 'hand-off none'],
    ['is handed off where only direct TLS is allowed', DIRECT, [CANCEL_REQUEST], 'hand-off none'],
    ['may arrive byte by byte', REQUIRE, bytewise(CANCEL_REQUEST), 'hand-off none'],
    [
      'with a key of 256 bytes passes',
      REQUIRE,
      [packet('CancelRequest with the longest key, 256 bytes')],
      'hand-off none',
    ],
    [
      'without a key is refused',
      REQUIRE,
      [packet('CancelRequest without a key')],
      'refuse 08P01, invalid_length',
    ],
    [
      'with too long a key is refused',
      REQUIRE,
      [packet('CancelRequest with a key of 257 bytes')],
      'refuse 08P01, invalid_length',
    ],
  ])('%s', (_name, policy, steps, expected) => {
    expect(summary(policy, steps)).toBe(expected);
  });

  it('is known as one from the outcome', () => {
    expect(run(REQUIRE, [CANCEL_REQUEST]).state).toMatchObject({ outcome: { isCancel: true } });
  });
});

describe('direct TLS', () => {
  it.each<[string, NegotiationPolicy, Step[], string]>([
    ['is handed off at its first byte', DIRECT, [CLIENT_HELLO.subarray(0, 1)], 'hand-off direct'],
    ['is handed off where any negotiation is allowed', REQUIRE, [CLIENT_HELLO], 'hand-off direct'],
    ['is handed off where TLS is optional', PREFER, [CLIENT_HELLO], 'hand-off direct'],
    [
      'is closed where it is not allowed',
      POSTGRES,
      [CLIENT_HELLO],
      'refuse silently, direct_tls_refused',
    ],
    [
      'is closed where TLS is disabled',
      DISABLE,
      [CLIENT_HELLO],
      'refuse silently, direct_tls_refused',
    ],
  ])('%s', (_name, policy, steps, expected) => {
    expect(summary(policy, steps)).toBe(expected);
  });
});

describe('garbage', () => {
  it.each([
    'length 0',
    'length 7, one short of a header',
    'length 10001 of which only the four length bytes arrived',
    'length 0xffffffff',
    'an HTTP request',
  ])('with %s is refused', (name) => {
    expect(summary(PREFER, [packet(name)])).toBe('refuse 08P01, invalid_length');
  });

  it('with an unassigned request code is refused as an unsupported protocol', () => {
    const bytes = packet('request code 1234.5681, which nobody assigned');
    expect(summary(REQUIRE, [bytes])).toBe('refuse 0A000, unsupported_protocol');
  });
});

describe('the end of a negotiation', () => {
  it.each<[string, Step[], string]>([
    ['without a byte is a TCP probe', ['client-ended'], 'close, tcp_probe'],
    [
      'with a Terminate message, before it had begun, gets no error',
      [Buffer.from('5800000004', 'hex')],
      'close, client_closed',
    ],
    ['by a reset without a byte is a TCP probe', ['socket-failed'], 'close, tcp_probe'],
    [
      'within a packet is the client’s',
      [SSL_REQUEST.subarray(0, 5), 'client-ended'],
      'close, client_closed',
    ],
    [
      'after N is the client’s',
      [GSSENC_REQUEST, WRITTEN, 'client-ended'],
      'N, close, client_closed',
    ],
    [
      'while S is being written is the client’s',
      [SSL_REQUEST, 'socket-failed'],
      'S, close, client_reset',
    ],
    ['comes with the deadline', ['deadline-passed'], 'refuse 57014, login_timeout'],
    [
      'comes with the deadline within a packet',
      [SSL_REQUEST.subarray(0, 5), 'deadline-passed'],
      'refuse 57014, login_timeout',
    ],
    [
      'comes with the deadline while S is being written',
      [SSL_REQUEST, 'deadline-passed'],
      'S, refuse 57014, login_timeout',
    ],
    ['comes with the shutdown', ['shutdown'], 'refuse 57P01, admin_shutdown'],
    ['is final for bytes', [SSL_REQUEST, WRITTEN, STARTUP], 'S, hand-off negotiated'],
    [
      'is final for the deadline',
      [SSL_REQUEST, WRITTEN, 'deadline-passed'],
      'S, hand-off negotiated',
    ],
    [
      'is final for a reply that was written late',
      ['shutdown', WRITTEN],
      'refuse 57P01, admin_shutdown',
    ],
  ])('%s', (_name, steps, expected) => {
    expect(summary(REQUIRE, steps)).toBe(expected);
  });

  it('does not come with a written reply nobody asked for', () => {
    expect(summary(REQUIRE, [WRITTEN])).toBe('then awaiting-initial-bytes');
  });

  it('does not come with an empty read', () => {
    expect(summary(REQUIRE, [SSL_REQUEST, Buffer.alloc(0), WRITTEN])).toBe(
      'S, hand-off negotiated',
    );
  });
});
