/**
 * The log of an embedded proxy: the program's logger, or nothing. A library writes nowhere by itself.
 */
import type { LogLevel } from '../../config/schema.ts';
import { describe } from '../../config/table-reader.ts';
import { PgtlsError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import { callOutside } from './events.ts';

/** What lines go to, such as pino or `console`; `fields` always have `event`. */
export interface PgtlsLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** Asked so that no line is assembled for nobody; without it every level is wanted. */
  isLevelEnabled?(level: string): boolean;
}

type Method = 'debug' | 'info' | 'warn' | 'error';

const METHODS: readonly Method[] = ['debug', 'info', 'warn', 'error'];
const LEVELS: readonly string[] = ['trace', ...METHODS];

/** Lets through what both `level` and the program's logger want. */
export class LibraryLogger implements Logger {
  readonly #target: PgtlsLogger | null;
  /** log_level of the configuration. */
  level: LogLevel = 'info';

  /** Throws PGTLS_ARGUMENTS_INVALID when `target` lacks a method, or `isLevelEnabled` is none. */
  constructor(target: PgtlsLogger | null) {
    const missing = METHODS.find(
      (method) => target !== null && typeof target[method] !== 'function',
    );
    if (missing !== undefined) {
      const message = `options.logger: has no method ${missing}(fields, message)`;
      throw new PgtlsError('PGTLS_ARGUMENTS_INVALID', message);
    }
    const isLevelEnabled: unknown = target?.isLevelEnabled;
    if (isLevelEnabled !== undefined && typeof isLevelEnabled !== 'function') {
      const message = `options.logger.isLevelEnabled: expected a function, got ${describe(isLevelEnabled)}`;
      throw new PgtlsError('PGTLS_ARGUMENTS_INVALID', message);
    }
    this.#target = target;
  }

  isLevelEnabled(level: string): boolean {
    const target = this.#target;
    return (
      target !== null &&
      LEVELS.indexOf(level) >= LEVELS.indexOf(this.level) &&
      (target.isLevelEnabled?.(level) ?? true)
    );
  }

  debug(fields: object, message: string): void {
    this.#write('debug', fields, message);
  }

  info(fields: object, message: string): void {
    this.#write('info', fields, message);
  }

  warn(fields: object, message: string): void {
    this.#write('warn', fields, message);
  }

  error(fields: object, message: string): void {
    this.#write('error', fields, message);
  }

  #write(method: Method, fields: object, message: string): void {
    callOutside(() => {
      if (this.isLevelEnabled(method)) {
        this.#target?.[method](fields, message);
      }
    });
  }
}
