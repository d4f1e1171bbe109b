/** Golden packets read as headers, and ErrorResponse written. */
import { describe, expect, it } from 'vitest';
import { encodeErrorResponse } from '../../src/negotiation/error-response.ts';
import { isDirectTls, readPacketHeader } from '../../src/negotiation/packet.ts';
import { errorFields, VECTORS } from './packets.ts';

describe('the header of a start-up packet', () => {
  it.each(VECTORS)('of "$name" reads as $header', ({ hex, header, expect: whole }) => {
    const bytes = Buffer.from(hex, 'hex');
    const read = readPacketHeader(bytes);
    expect(isDirectTls(bytes) ? 'direct-tls' : read.kind).toBe(header);
    if (read.kind === 'invalid') {
      expect(read.reason).toBe(whole.reason);
    }
    if (read.kind === 'startup' && whole.kind === 'startup') {
      expect([read.major, read.minor]).toEqual([whole.major, whole.minor]);
    }
  });
});

describe('an ErrorResponse', () => {
  it('carries severity twice, SQLSTATE, message and hint', () => {
    const bytes = encodeErrorResponse({ sqlstate: '28000', message: 'no', hint: 'do' });
    expect(errorFields(bytes)).toEqual({ S: 'FATAL', V: 'FATAL', C: '28000', M: 'no', H: 'do' });
  });

  it('leaves the hint out when there is none and counts UTF-8 in bytes', () => {
    const bytes = encodeErrorResponse({ sqlstate: '08P01', message: 'größer', hint: null });
    expect(errorFields(bytes)).toEqual({ S: 'FATAL', V: 'FATAL', C: '08P01', M: 'größer' });
  });

  it('cannot be cut short by a NUL in its message', () => {
    const bytes = encodeErrorResponse({ sqlstate: '08P01', message: 'a\0b', hint: null });
    expect(errorFields(bytes)['M']).toBe('ab');
  });
});
