/**
 * New connections: TCP, SSLRequest, TLS handshake, login, goodbye; four at a time. A process gets some that don't count before
 * the first that do: V8 compiles what is hot, in node:tls and in pgtls alike.
 */
import { runClient } from '../lib/client.mjs';
import { Lacking } from '../lib/lacking.mjs';

const AT_ONCE = 4;
/** Less than this share of resumed sessions is no resumption. */
const MOST = 0.9;

/** Those that have been warmed up. @type {WeakSet<import('../lib/contestants.mjs').Running>} */
const warm = new WeakSet();

/** @type {import('../lib/rounds.mjs').Measure} */
export const CONNECTIONS = {
  name: 'connections',
  title: 'New TLS connections (with login)',
  figures: { cpuMillis: 'CPU ms/connection', perSecond: 'connections/s' },
  variants: () => [
    { name: 'ecdsa', isColour: true },
    { name: 'rsa', isColour: false, wish: { keyType: 'rsa' }, legs: ['plain'] },
    { name: 'resumed', isColour: false, wish: { resumes: true }, legs: ['plain'] },
  ],
  measure: async ({ running, place, variant, size }) => {
    const isResumed = variant.name === 'resumed';
    const { answer, cpuMillis } = await runClient(running, place, {
      do: 'connections',
      seconds: size.seconds,
      atOnce: AT_ONCE,
      isResumed,
      warmUp: warm.has(running) ? 0 : size.warmUpConnections,
    });
    warm.add(running);
    if (isResumed && answer.resumed < MOST * answer.connections) {
      throw new Lacking(
        `it resumed ${answer.resumed} of ${answer.connections} sessions that offered a ticket`,
      );
    }
    return {
      ...(cpuMillis === null ? {} : { cpuMillis: cpuMillis / answer.connections }),
      perSecond: answer.connections / (answer.millis / 1000),
    };
  },
};
