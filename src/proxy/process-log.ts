/**
 * The log on this process's standard output, which all loggers without a destination of their own share.
 */
import { sendAtOnce } from '../data-plane/data-plane.ts';
import { LogWriter, writeAtOnceTo } from '../observability/log-writer.ts';
import {
  createLogger as createLoggerTo,
  type Logger,
  type LoggerOptions,
} from '../observability/logger.ts';

const STDOUT = 1;
/** How long lines that cannot be written keep a process from its end. */
const FLUSH_MILLIS = 1_000;

let writer: LogWriter | null = null;

/**
 * Makes a logger; without pino-pretty the format `pretty` falls back to JSON, with a warning. Lines to stdout keep nobody waiting:
 * up to 1 MiB is kept while stdout does not take them, and what goes beyond is lost and counted.
 */
export function createLogger({ level, format, destination }: LoggerOptions): Logger {
  return createLoggerTo({ level, format, destination: destination ?? standardOutput() });
}

/** How many lines to stdout were lost until now. */
export function droppedLogLines(): number {
  return writer?.dropped ?? 0;
}

/** Resolves when all lines are written to stdout, or when they cannot be for a second. */
export async function flushLog(): Promise<void> {
  await writer?.flushed(FLUSH_MILLIS);
}

function standardOutput(): LogWriter {
  writer ??= new LogWriter(writeAtOnceTo(STDOUT, sendAtOnce));
  return writer;
}
