/** PROXY headers: the specification's own examples, every way to cut them, and bytes at random. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_V1_BYTES, MAX_V2_BYTES, parseProxyHeader } from '../../src/listener/proxy-protocol.ts';
import { headerV2, V2_SIGNATURE } from '../support/proxy-header.ts';

const v1 = (line: string) => Buffer.from(`${line}\r\n`, 'latin1');

/** What the specification calls the worst cases of version 1, and its examples. */
const VERSION_1: [line: string, client: { host: string; port: number } | null][] = [
  ['PROXY TCP4 192.168.0.1 192.168.0.11 56324 443', { host: '192.168.0.1', port: 56324 }],
  [
    'PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535',
    { host: '255.255.255.255', port: 65535 },
  ],
  [
    'PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535'.replaceAll(
      'ffff:f...f:ffff',
      'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    ),
    { host: 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', port: 65535 },
  ],
  ['PROXY TCP6 2001:DB8::1 ::1 0 1', { host: '2001:db8::1', port: 0 }],
  ['PROXY UNKNOWN', null],
  [
    'PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535'.replaceAll(
      'ffff:f...f:ffff',
      'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    ),
    null,
  ],
];

const TCP4 = Buffer.from([192, 0, 2, 7, 10, 0, 0, 1, 0xd2, 0x04, 0x19, 0x20]);
const TLVS = Buffer.from('030004aabbccdd04000300ff00', 'hex');

function tcp6(source: string): Buffer {
  return Buffer.concat([
    Buffer.from(source, 'hex'),
    Buffer.alloc(16, 9),
    Buffer.from('d2041920', 'hex'),
  ]);
}

const VERSION_2: [name: string, header: Buffer, client: { host: string; port: number } | null][] = [
  ['TCP over IPv4', headerV2(0x21, 0x11, TCP4), { host: '192.0.2.7', port: 53_764 }],
  [
    'TCP over IPv4 with TLVs',
    headerV2(0x21, 0x11, Buffer.concat([TCP4, TLVS])),
    { host: '192.0.2.7', port: 53_764 },
  ],
  [
    'TCP over IPv6',
    headerV2(0x21, 0x21, tcp6('20010db8000000000000000000000001')),
    { host: '2001:db8::1', port: 53_764 },
  ],
  [
    'a mapped address',
    headerV2(0x21, 0x21, tcp6('00000000000000000000ffffc0000207')),
    { host: '::ffff:192.0.2.7', port: 53_764 },
  ],
  ['a Unix-domain socket', headerV2(0x21, 0x31, Buffer.alloc(216, 'x')), null],
  ['no family', headerV2(0x21, 0x00, Buffer.alloc(0)), null],
  ['LOCAL', headerV2(0x20, 0x00, Buffer.alloc(0)), null],
  ['LOCAL with addresses', headerV2(0x20, 0x11, TCP4), null],
  ['LOCAL of a family nobody knows', headerV2(0x20, 0x77, TLVS), null],
];

const ALL: [string, Buffer, { host: string; port: number } | null][] = [
  ...VERSION_1.map(([line, client]): (typeof VERSION_2)[number] => [line, v1(line), client]),
  ...VERSION_2,
];

describe('a PROXY header', () => {
  it.each(ALL)('tells the client and its own length: %s', (_name, header, client) => {
    const length = header.length;
    expect(parseProxyHeader(header)).toEqual({ type: 'header', length, client });
    const followed = Buffer.concat([header, Buffer.from('0000000804d2162f', 'hex')]);
    expect(parseProxyHeader(followed)).toEqual({ type: 'header', length, client });
  });

  it.each(ALL)('is waited for wherever it is cut: %s', (_name, header) => {
    for (let end = 0; end < header.length; end += 1) {
      expect(parseProxyHeader(header.subarray(0, end)), `${end} bytes`).toEqual({
        type: 'incomplete',
      });
    }
  });

  it.each([
    ['00000000000000000000000000000000', '::'],
    ['00000000000000000000000000000001', '::1'],
    ['fe800000000000000001000200030004', 'fe80::1:2:3:4'],
    ['00010000000000000000000000000000', '1::'],
    ['00000000000100000000000000000001', '0:0:1::1'],
    ['00100000000000010002000300040005', '10::1:2:3:4:5'],
    ['00010002000000040005000600070008', '1:2:0:4:5:6:7:8'],
  ])('writes the IPv6 address %s as RFC 5952 does', (bytes, host) => {
    expect(parseProxyHeader(headerV2(0x21, 0x21, tcp6(bytes)))).toMatchObject({ client: { host } });
  });
});

describe('what is no PROXY header', () => {
  it.each([
    ['an SSLRequest', Buffer.from('0000000804d2162f', 'hex')],
    ['a ClientHello', Buffer.from('160301', 'hex')],
    ['PROXX', Buffer.from('PROXX ')],
    [
      'a signature with one wrong byte',
      Buffer.concat([V2_SIGNATURE.subarray(0, 11), Buffer.from('x')]),
    ],
  ])('is told from its first bytes: %s', (_name, bytes) => {
    expect(parseProxyHeader(bytes)).toEqual({ type: 'missing' });
  });

  it.each([
    'PROXY',
    'PROXY TCP5 192.0.2.1 192.0.2.2 1 2',
    'PROXY TCP4 192.0.2.1 192.0.2.2 1',
    'PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3',
    'PROXY TCP4  192.0.2.1 192.0.2.2 1 2',
    'PROXY TCP4 192.0.2.1 192.0.2.2 01 2',
    'PROXY TCP4 192.0.2.1 192.0.2.2 65536 2',
    'PROXY TCP4 192.0.2.1 192.0.2.2 -1 2',
    'PROXY TCP4 192.0.2.256 192.0.2.2 1 2',
    'PROXY TCP4 2001:db8::1 2001:db8::2 1 2',
    'PROXY TCP6 192.0.2.1 192.0.2.2 1 2',
    'PROXY TCP6 fe80::1%eth0 ::1 1 2',
    'PROXY tcp4 192.0.2.1 192.0.2.2 1 2',
  ])('is malformed: %s', (line) => {
    const { type } = parseProxyHeader(v1(line));
    expect(type).toBe(line === 'PROXY' ? 'missing' : 'malformed');
  });

  it.each([
    ['version 1', headerV2(0x11, 0x11, TCP4)],
    ['version 3', headerV2(0x31, 0x11, TCP4)],
    ['another command', headerV2(0x22, 0x11, TCP4)],
    ['a datagram', headerV2(0x21, 0x12, TCP4)],
    ['an unknown family', headerV2(0x21, 0x41, TCP4)],
    ['addresses that are too short', headerV2(0x21, 0x21, TCP4)],
  ])('is malformed: %s in the binary form', (_name, header) => {
    expect(parseProxyHeader(header).type).toBe('malformed');
  });

  it('is malformed beyond the greatest length, and not a byte before it', () => {
    const line = `PROXY UNKNOWN ${'x'.repeat(MAX_V1_BYTES)}`;
    expect(parseProxyHeader(Buffer.from(line.slice(0, MAX_V1_BYTES - 1))).type).toBe('incomplete');
    expect(parseProxyHeader(Buffer.from(line.slice(0, MAX_V1_BYTES))).type).toBe('malformed');
    const longest = headerV2(0x20, 0, Buffer.alloc(MAX_V2_BYTES - 16));
    expect(parseProxyHeader(longest)).toMatchObject({ type: 'header', length: MAX_V2_BYTES });
    const longer = headerV2(0x20, 0, Buffer.alloc(MAX_V2_BYTES - 15));
    expect(parseProxyHeader(longer.subarray(0, 16)).type).toBe('malformed');
  });
});

describe('any bytes at all', () => {
  const mutated = fc
    .tuple(
      fc.constantFrom(...ALL.map(([, header]) => header)),
      fc.array(fc.tuple(fc.nat(), fc.nat(255))),
    )
    .map(([header, changes]) => {
      const bytes = Buffer.from(header);
      for (const [place, value] of changes) {
        bytes[place % bytes.length] = value;
      }
      return bytes;
    });
  const random = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  const signed = random.map((bytes) => Buffer.concat([V2_SIGNATURE, bytes]));
  const any = fc.oneof(mutated, random, signed);

  it('are judged the same whatever follows, once they are judged, and never consumed beyond their end', () => {
    fc.assert(
      fc.property(any, random, (bytes, rest) => {
        const judged = parseProxyHeader(bytes);
        if (judged.type === 'incomplete') {
          expect(bytes.length).toBeLessThan(MAX_V2_BYTES);
          return;
        }
        expect(parseProxyHeader(Buffer.concat([bytes, rest]))).toEqual(judged);
        if (judged.type === 'header') {
          expect(judged.length).toBeLessThanOrEqual(bytes.length);
        }
      }),
      { numRuns: 20_000 },
    );
  });

  it('end in the same way however they arrive', () => {
    fc.assert(
      fc.property(any, (bytes) => {
        let first = parseProxyHeader(bytes.subarray(0, 0));
        for (let end = 1; end <= bytes.length && first.type === 'incomplete'; end += 1) {
          first = parseProxyHeader(bytes.subarray(0, end));
        }
        const whole = parseProxyHeader(bytes);
        expect(first.type).toBe(whole.type);
        if (whole.type === 'header') {
          expect(first).toEqual(whole);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
