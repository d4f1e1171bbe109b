/**
 * The log: pino, one flat JSON object a line, on stdout; pretty for people where pino-pretty is
 * installed.
 */
import { createRequire } from 'node:module';
import type { Writable } from 'node:stream';
import { type DestinationStream, type Logger as PinoLogger, pino, stdTimeFunctions } from 'pino';
import type { LogFormat, LogLevel } from '../config/schema.ts';

/** Every line goes through one of these; its `event` field names what happened. */
export type Logger = PinoLogger;

/** What a logger is made of. */
export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Where lines go instead of stdout. */
  readonly destination?: Writable;
}

const MAX_UNWRITTEN_BYTES = 1024 * 1024;

type PrettyFactory = (options: { destination: Writable | number; sync: true }) => DestinationStream;

/** Makes the logger; without pino-pretty the format `pretty` falls back to JSON, with a warning. */
export function createLogger(options: LoggerOptions): Logger {
  const wantsPretty = options.format === 'pretty';
  const pretty = wantsPretty ? loadPretty() : null;
  const destination =
    pretty === null
      ? (options.destination ?? standardOutput())
      : pretty({ destination: options.destination ?? 1, sync: true });
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  if (wantsPretty && pretty === null) {
    logger.warn(
      { event: 'log.format', requested: 'pretty', used: 'json' },
      'log_format = "pretty" needs the package pino-pretty: npm install pino-pretty',
    );
  }
  return logger;
}

/**
 * Lines that cannot be written (a full disk, a reader that is gone) are lost: no session is to end for them. Up to
 * {@link MAX_UNWRITTEN_BYTES} are kept for when writing works again.
 */
function standardOutput(): DestinationStream {
  const destination = pino.destination({ dest: 1, sync: true, maxLength: MAX_UNWRITTEN_BYTES });
  destination.on('error', () => {});
  return destination;
}

function loadPretty(): PrettyFactory | null {
  try {
    return createRequire(import.meta.url)('pino-pretty');
  } catch {
    return null;
  }
}
