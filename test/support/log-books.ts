/** Counting connections in a log: every accepted one must be closed once, whatever it did. */
import type { LogLine } from './running-proxy.ts';

/** What a log says of its connections. */
export interface ConnectionBooks {
  readonly accepted: number;
  readonly closed: number;
  /** Lines that tell of a defect of pgtls: panics, restarted workers, internal errors. */
  readonly internal: readonly LogLine[];
}

/** Reads the debug log of a program that has ended (folded failures are written then). */
export function connectionBooks(logs: readonly LogLine[]): ConnectionBooks {
  const closes = logs.filter(({ event }) => event === 'conn.close');
  return {
    accepted: logs.filter(({ event }) => event === 'conn.accept').length,
    closed: closes.reduce((sum, line) => sum + Number(line['repeated'] ?? 1), 0),
    internal: logs.filter(isInternal),
  };
}

function isInternal({ level, event, reason, fault_side }: LogLine): boolean {
  return (
    level === 'error' || event === 'worker.restart' || reason === 'panic' || fault_side === 'proxy'
  );
}
