/**
 * What createProxy and `drain` are called with beside the configuration.
 *
 * Nothing that is given is ignored: a misspelt option, or a hook that would never be asked, could let in whom it was to keep out. So names are
 * looked for wherever JavaScript would find them, in prototypes too, and one that means nothing is refused.
 */
import { DURATION_EXPECTATION, parseDuration } from '../../config/duration.ts';
import type { Environment } from '../../config/environment.ts';
import { nearest } from '../../config/suggestion.ts';
import { describe, isTable } from '../../config/table-reader.ts';
import { PgtlsError } from '../../errors.ts';
import type { ProxyHooks } from '../hooks.ts';
import { LibraryLogger, type PgtlsLogger } from './logger.ts';
import type { SourceOptions } from './source.ts';

/** What a proxy gets beside its configuration. */
export interface CreateProxyOptions {
  /** Asked about connections; docs/hooks.md. */
  readonly hooks?: ProxyHooks | undefined;
  /** Gets the log; false or nothing = there is none. */
  readonly logger?: PgtlsLogger | false | undefined;
  /** What `${NAME}` in strings of the configuration stands for; default: the process's variables. */
  readonly environment?: Environment | undefined;
  /** Where relative paths of an object start; default: the working directory. Those of a file start beside it. */
  readonly directory?: string | undefined;
}

/** How patient a drain is. */
export interface DrainOptions {
  /** How long sessions may go on, as durations are written in the configuration; default: `shutdown_timeout`. */
  readonly timeout?: string | number | undefined;
}

/** {@link CreateProxyOptions}, checked. */
export interface CheckedOptions {
  /** As they were when they were given; each is called on the object it came from. */
  readonly hooks: ProxyHooks;
  readonly logger: LibraryLogger;
  readonly source: SourceOptions;
}

type Names = readonly [string, ...string[]];

const OPTIONS: Names = ['hooks', 'logger', 'environment', 'directory'];
const DRAIN_OPTIONS: Names = ['timeout'];
const HOOKS: Names = ['onClientHello', 'onClientCertificate', 'onBackendCertificate', 'route'];

/** Reads the options of createProxy; throws PGTLS_ARGUMENTS_INVALID. */
export function checkedOptions(options: unknown): CheckedOptions {
  const { hooks, logger, environment, directory } = membersOf('options', options, {
    kind: 'option',
    names: OPTIONS,
  });
  if (directory !== undefined && typeof directory !== 'string') {
    throw unexpected('options.directory', 'a path', directory);
  }
  const asked = checkedHooks(hooks);
  return {
    hooks: asked,
    logger: new LibraryLogger(checkedLogger(logger)),
    source: {
      environment: checkedEnvironment(environment),
      directory: directory ?? '',
      hasRouteHook: asked.route !== undefined,
    },
  };
}

/** Reads the options of `drain`: the timeout in milliseconds, undefined = that of the configuration; throws PGTLS_ARGUMENTS_INVALID. */
export function drainGraceMillis(options: unknown): number | undefined {
  const { timeout } = membersOf('options', options, { kind: 'option', names: DRAIN_OPTIONS });
  if (timeout === undefined) {
    return undefined;
  }
  const millis = parseDuration(timeout);
  if (millis === null) {
    throw unexpected('options.timeout', DURATION_EXPECTATION, timeout);
  }
  return millis;
}

function checkedHooks(hooks: unknown): ProxyHooks {
  const members = membersOf('options.hooks', hooks, { kind: 'hook', names: HOOKS });
  const checked: Record<string, unknown> = {};
  for (const [name, hook] of Object.entries(members)) {
    if (hook !== undefined && typeof hook !== 'function') {
      throw unexpected(`options.hooks.${name}`, 'a function', hook);
    }
    checked[name] = hook && ((told: unknown) => Reflect.apply(hook, hooks, [told]));
  }
  return checked;
}

function checkedLogger(logger: unknown): PgtlsLogger | null {
  if (logger === undefined || logger === false) {
    return null;
  }
  if (logger === null || (typeof logger !== 'object' && typeof logger !== 'function')) {
    throw unexpected('options.logger', 'an object with methods, or false', logger);
  }
  return logger as PgtlsLogger;
}

/** The values are secrets, often; no message has one. */
function checkedEnvironment(environment: unknown): Environment | null {
  if (environment === undefined) {
    return null;
  }
  if (typeof environment !== 'object' || environment === null || Array.isArray(environment)) {
    const type = Array.isArray(environment) ? 'list' : typeof environment;
    const got = environment === null ? 'null' : `a ${type}`;
    throw invalid(`options.environment: expected an object of strings, got ${got}`);
  }
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && typeof value !== 'string') {
      const got = value === null ? 'null' : `a ${typeof value}`;
      throw invalid(`options.environment.${name}: expected a string, got ${got}`);
    }
  }
  return environment as Environment;
}

/** What an object may have. */
interface Vocabulary {
  readonly kind: 'option' | 'hook';
  readonly names: Names;
}

/** The members of `value` by name, inherited ones too; undefined has none. Throws PGTLS_ARGUMENTS_INVALID for any other name. */
function membersOf(
  where: string,
  value: unknown,
  { kind, names }: Vocabulary,
): Record<string, unknown> {
  if (value === undefined) {
    return {};
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unexpected(where, `an object with any of ${names.join(', ')}`, value);
  }
  const unknown = namesIn(value).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    const near = nearest(unknown, names);
    const hint = near === null ? `expected ${names.join(', ')}` : `did you mean "${near}"?`;
    throw invalid(`${where}: there is no ${kind} "${unknown}"; ${hint}`);
  }
  return Object.fromEntries(names.map((name) => [name, Reflect.get(value, name)]));
}

/** Of properties and methods, its prototypes' too; without what every object has, in whichever realm. */
function namesIn(value: object): string[] {
  const names: string[] = [];
  for (let part: object | null = value; part !== null; part = Object.getPrototypeOf(part)) {
    names.push(...Object.getOwnPropertyNames(part).filter((name) => !(name in Object.prototype)));
  }
  return names;
}

function unexpected(where: string, expectation: string, value: unknown): PgtlsError {
  const got = isTable(value) ? 'an object' : describe(value);
  return invalid(`${where}: expected ${expectation}, got ${got}`);
}

function invalid(message: string): PgtlsError {
  return new PgtlsError('PGTLS_ARGUMENTS_INVALID', message);
}
