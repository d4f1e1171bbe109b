import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConnectionRate } from '../../src/listener/connection-rate.ts';

describe('the rate of an address', () => {
  it('lets as many through at once as come in a second, then one each time a token is earned', () => {
    const rate = new ConnectionRate(4);
    const taken = Array.from({ length: 6 }, () => rate.take('192.0.2.1', 1_000));
    expect(taken).toEqual([true, true, true, true, false, false]);
    expect(rate.take('192.0.2.1', 1_249)).toBe(false);
    expect(rate.take('192.0.2.1', 1_250)).toBe(true);
    expect(rate.take('192.0.2.1', 1_250)).toBe(false);
  });

  it('is its own', () => {
    const rate = new ConnectionRate(1);
    expect(rate.take('192.0.2.1', 0)).toBe(true);
    expect(rate.take('192.0.2.1', 0)).toBe(false);
    expect(rate.take('2001:db8::1', 0)).toBe(true);
  });

  it('never lets more through in a stretch of time than that time and one burst allow', () => {
    const pauses = fc.array(fc.nat(400), { maxLength: 200 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), pauses, (perSecond, steps) => {
        const rate = new ConnectionRate(perSecond);
        let now = 0;
        let passed = 0;
        for (const pause of steps) {
          now += pause;
          passed += rate.take('192.0.2.1', now) ? 1 : 0;
        }
        expect(passed).toBeLessThanOrEqual(perSecond + (now * perSecond) / 1_000 + 1e-6);
      }),
    );
  });

  it('is forgotten first where it was not seen for longest, so that the table keeps its bound', () => {
    const rate = new ConnectionRate(1, 3);
    for (const address of ['a', 'b', 'c', 'a', 'd', 'e']) {
      rate.take(address, 0);
    }
    expect(rate.size).toBe(3);
    expect(rate.take('a', 0)).toBe(false);
    expect(rate.take('b', 0)).toBe(true);
  });
});
