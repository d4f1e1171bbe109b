/**
 * The log: pino, one flat JSON object a line, on stdout; pretty for people where pino-pretty is
 * installed.
 */
import { createRequire } from 'node:module';
import { Writable } from 'node:stream';
import { type DestinationStream, pino, stdSerializers, stdTimeFunctions } from 'pino';
import type { LogFormat, LogLevel } from '../config/schema.ts';
import { PgtlsError } from '../errors.ts';
import { LogWriter } from './log-writer.ts';

/** Every line goes through one of these, pino's or an embedding program's; its `event` field names what happened. */
export interface Logger {
  /** Whether lines of that level go anywhere. */
  isLevelEnabled(level: string): boolean;
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What a logger is made of. */
export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Where lines go instead of stdout. */
  readonly destination?: Writable;
}

/** The same with a destination, be it stdout's. */
type DirectedOptions = Omit<LoggerOptions, 'destination'> & {
  readonly destination: Writable | LogWriter;
};

type PrettyFactory = (options: { destination: Writable; sync: true }) => DestinationStream;

/** Makes the logger; without pino-pretty the format `pretty` falls back to JSON, with a warning. */
export function createLogger({ level, format, destination }: DirectedOptions): Logger {
  const wantsPretty = format === 'pretty';
  const pretty = wantsPretty ? loadPretty() : null;
  const logger = pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      serializers: { err: loggable },
      formatters: { level: (label) => ({ level: label }) },
    },
    pretty === null ? destination : pretty({ destination: asStream(destination), sync: true }),
  );
  if (destination instanceof LogWriter) {
    destination.onDropped = (count) =>
      logger.warn({ event: 'log.dropped', count }, 'lines of the log were lost before this one');
  }
  if (wantsPretty && pretty === null) {
    logger.warn(
      { event: 'log.format', requested: 'pretty', used: 'json' },
      'log_format = "pretty" needs the package pino-pretty: npm install pino-pretty',
    );
  }
  return logger;
}

/** What pgtls says is said without the place in pgtls where it was found, and once: its causes say the same. */
function loggable(error: Error): object {
  if (!(error instanceof PgtlsError)) {
    return stdSerializers.err(error);
  }
  const { name: type, message, ...fields } = { ...error, message: error.message };
  return { type, message, ...fields };
}

function asStream(destination: Writable | LogWriter): Writable {
  if (!(destination instanceof LogWriter)) {
    return destination;
  }
  const write = (line: unknown, _encoding: string, done: () => void) => {
    destination.write(String(line));
    done();
  };
  return new Writable({ decodeStrings: false, write });
}

function loadPretty(): PrettyFactory | null {
  try {
    return createRequire(import.meta.url)('pino-pretty');
  } catch {
    return null;
  }
}
