import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NegotiatingClients } from '../../src/listener/negotiating-clients.ts';

describe('connections of an address that negotiate', () => {
  it('have so many places, which those give back that are done', () => {
    const clients = new NegotiatingClients(2);
    expect([1, 2, 3].map((id) => clients.enter(id, '192.0.2.1'))).toEqual([true, true, false]);
    expect(clients.enter(4, '2001:db8::1')).toBe(true);
    clients.leave(3);
    expect(clients.enter(5, '192.0.2.1')).toBe(false);
    clients.leave(1);
    clients.leave(1);
    expect([6, 7].map((id) => clients.enter(id, '192.0.2.1'))).toEqual([true, false]);
  });

  it('are never more than allowed, and an address where all have left has every place again', () => {
    const moves = fc.array(fc.record({ id: fc.nat(20), host: fc.constantFrom('a', 'b') }));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), moves, (max, all) => {
        const clients = new NegotiatingClients(max);
        const inside = new Map<number, string>();
        for (const { id, host } of all) {
          if (inside.delete(id)) {
            clients.leave(id);
            continue;
          }
          const count = [...inside.values()].filter((other) => other === host).length;
          expect(clients.enter(id, host)).toBe(count < max);
          if (count < max) {
            inside.set(id, host);
          }
        }
        for (const id of inside.keys()) {
          clients.leave(id);
        }
        const places = Array.from({ length: max + 1 }, (_, id) => clients.enter(100 + id, 'a'));
        expect(places.indexOf(false)).toBe(max);
      }),
    );
  });
});
