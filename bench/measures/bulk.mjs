/** Bulk: COPY out of PostgreSQL and in, rows of 1,000 bytes. A GB is 10⁹ bytes. */
import { runClient } from '../lib/client.mjs';

/** @type {import('../lib/rounds.mjs').Measure} */
export const BULK = {
  name: 'bulk',
  title: 'Bulk (COPY, rows of 1,000 bytes)',
  figures: { cpuSecondsPerGb: 'CPU s/GB', megabytesPerSecond: 'MB/s' },
  variants: () => [
    { name: 'out', isColour: true },
    { name: 'in', isColour: true },
  ],
  measure: async ({ running, place, variant, size }) => {
    const { answer, cpuMillis } = await runClient(running, place, {
      do: `copy-${variant.name}`,
      bytes: size.bytes,
    });
    return {
      ...(cpuMillis === null ? {} : { cpuSecondsPerGb: cpuMillis / 1000 / (answer.bytes / 1e9) }),
      megabytesPerSecond: answer.bytes / 1e6 / (answer.millis / 1000),
    };
  },
};
