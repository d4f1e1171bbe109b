/** Allow and deny lists. */
import { describe, expect, it } from 'vitest';
import { createAccessList } from '../../src/listener/access.ts';

describe('an access list', () => {
  it.each([
    ['permits all when both lists are empty', [], [], '192.0.2.1', true],
    ['permits even an unknown address when both lists are empty', [], [], undefined, true],
    ['permits what a block allows', ['10.0.0.0/8'], [], '10.1.2.3', true],
    ['refuses what no block allows', ['10.0.0.0/8'], [], '11.1.2.3', false],
    ['takes an address without a prefix as itself', ['10.0.0.1'], [], '10.0.0.2', false],
    ['lets deny win over allow', ['10.0.0.0/8'], ['10.9.0.0/16'], '10.9.8.7', false],
    [
      'permits all but the denied when nothing is allowed by name',
      [],
      ['10.0.0.0/8'],
      '8.8.8.8',
      true,
    ],
    ['knows IPv6', ['fd00::/8'], [], 'fd12::1', true],
    ['does not let 0.0.0.0/0 allow IPv6', ['0.0.0.0/0'], [], 'fd12::1', false],
    ['ignores the zone of a link-local address', ['fe80::/10'], [], 'fe80::1%eth0', true],
    ['refuses an unknown address when there is a list', [], ['10.0.0.0/8'], undefined, false],
  ] as const)('%s', (_name, allow, deny, address, expected) => {
    expect(createAccessList(allow, deny).permits(address)).toBe(expected);
  });

  it.each([
    '10.0.0.0/33',
    'fd00::/129',
    'example.com',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '',
    '1.2.3.4/-1',
  ])('refuses "%s" with a typed error', (block) => {
    expect(() => createAccessList([block], [])).toThrow(
      expect.objectContaining({ code: 'PGTLS_CONFIG_INVALID' }),
    );
  });
});
