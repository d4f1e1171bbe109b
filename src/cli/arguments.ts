/**
 * The command line: argv → one of the commands, and which exit code an error gets.
 *
 * May import commands.ts, errors.ts, config/ and node only.
 */
import { parseArgs } from 'node:util';
import type { LogFormat, LogLevel } from '../config/schema.ts';
import { nearest } from '../config/suggestion.ts';
import { PgtlsError } from '../errors.ts';
import {
  COMMAND_NAMES,
  COMMANDS,
  type CommandName,
  isCommandName,
  LOG_FORMATS,
  LOG_LEVELS,
  OPTIONS,
  SHELLS,
  type Shell,
} from './commands.ts';

/** Overrides of the file's log settings; null = as the file says. */
interface LogOptions {
  readonly logLevel: LogLevel | null;
  readonly logFormat: LogFormat | null;
}

/** What the user asked for. */
export type Command =
  | ({ readonly kind: 'run'; readonly configPath: string } & LogOptions)
  | { readonly kind: 'validate'; readonly configPath: string }
  | { readonly kind: 'doctor'; readonly configPath: string | null }
  | ({ readonly kind: 'demo' } & LogOptions)
  | { readonly kind: 'init'; readonly configPath: string; readonly isForced: boolean }
  | { readonly kind: 'completion'; readonly shell: Shell }
  /** Of one command; null = of all. */
  | { readonly kind: 'help'; readonly topic: CommandName | null }
  | { readonly kind: 'version' };

/** The process's exit codes. */
export const EXIT_CODES: Readonly<
  Record<'fine' | 'runtime' | 'configuration' | 'binding', number>
> = { fine: 0, runtime: 1, configuration: 2, binding: 3 };

/** Parses the arguments behind the program's name; throws PGTLS_ARGUMENTS_INVALID. */
export function parseCommand(argv: readonly string[]): Command {
  const { values, positionals } = parseOptions(argv);
  const [word, ...rest] = positionals;
  if (values.help === true) {
    return { kind: 'help', topic: word === undefined ? null : commandNameOf(word) };
  }
  if (values.version === true) {
    return { kind: 'version' };
  }
  const name = commandNameOf(word ?? 'run');
  refuseForeignOptions(name, values);
  switch (name) {
    case 'help':
      return { kind: 'help', topic: topicOf(rest) };
    case 'completion':
      return { kind: 'completion', shell: shellOf(rest) };
    default:
      return commandOf(name, configOf(name, values.config, rest), values);
  }
}

/** The exit code for an error that ends the program. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof PgtlsError)) {
    return EXIT_CODES.runtime;
  }
  switch (error.code) {
    case 'PGTLS_BINDING_MISSING':
      return EXIT_CODES.binding;
    case 'PGTLS_ARGUMENTS_INVALID':
    case 'PGTLS_CONFIG_INVALID':
    case 'PGTLS_CONFIG_UNREADABLE':
    case 'PGTLS_TLS_CONFIG_INVALID':
    case 'PGTLS_BIND_FAILED':
      return EXIT_CODES.configuration;
    default:
      return EXIT_CODES.runtime;
  }
}

/** An option of another command would have no effect, so it is a mistake. */
function refuseForeignOptions(name: CommandName, values: Options['values']): void {
  const given = Object.keys(values) as (keyof Options['values'])[];
  const foreign = given.find((option) => !COMMANDS[name].options.includes(option));
  if (foreign === 'config' && name === 'demo') {
    throw invalid('demo takes no configuration file: it writes its own', name);
  }
  if (foreign !== undefined) {
    const owners = COMMAND_NAMES.filter((other) => COMMANDS[other].options.includes(foreign));
    throw invalid(`--${foreign} is for ${owners.join(', ')} alone, not for ${name}`, name);
  }
}

function topicOf(rest: readonly string[]): CommandName | null {
  const [word, ...unexpected] = rest;
  if (unexpected.length > 0) {
    throw invalid(`unexpected argument "${unexpected[0]}"`, 'help');
  }
  return word === undefined ? null : commandNameOf(word);
}

function shellOf(rest: readonly string[]): Shell {
  const [name = '', ...unexpected] = rest;
  if (unexpected.length > 0) {
    throw invalid('completion takes the name of a shell, and nothing else', 'completion');
  }
  const shell = SHELLS.find((known) => known === name);
  if (shell === undefined) {
    const problem = name === '' ? 'completion wants a shell' : `completion "${name}" is unknown`;
    throw invalid(`${problem}; expected ${SHELLS.join(', ')}${meant(name, SHELLS)}`, 'completion');
  }
  return shell;
}

/** The file of `-c`, or the argument of those that can only mean that. */
function configOf(
  name: CommandName,
  config: string | undefined,
  rest: readonly string[],
): string | undefined {
  const takesFile = config === undefined && COMMANDS[name].takesFile;
  const [file, ...unexpected] = takesFile ? rest : [config, ...rest];
  if (unexpected.length > 0) {
    throw invalid(`unexpected argument "${unexpected[0]}"`, name);
  }
  return file;
}

function commandOf(
  name: Exclude<CommandName, 'help' | 'completion'>,
  config: string | undefined,
  values: Options['values'],
): Command {
  const logOptions = (): LogOptions => ({
    logLevel: oneOf(name, '--log-level', values['log-level'], LOG_LEVELS),
    logFormat: oneOf(name, '--log-format', values['log-format'], LOG_FORMATS),
  });
  switch (name) {
    case 'run':
      return { kind: 'run', configPath: required(name, config), ...logOptions() };
    case 'validate':
      return { kind: 'validate', configPath: required(name, config) };
    case 'doctor':
      return { kind: 'doctor', configPath: config ?? null };
    case 'demo':
      return { kind: 'demo', ...logOptions() };
    case 'init': {
      const isForced = values.force === true;
      return { kind: 'init', configPath: config ?? 'pgtls.toml', isForced };
    }
  }
}

function commandNameOf(word: string): CommandName {
  if (isCommandName(word)) {
    return word;
  }
  throw invalid(
    word.endsWith('.toml')
      ? `"${word}" is no command; expected such as: pgtls -c ${word}`
      : `unknown command "${word}"; expected ${orList(COMMAND_NAMES)}${meant(word, COMMAND_NAMES)}`,
  );
}

/** Such as `a, b or c`. */
function orList(words: readonly string[]): string {
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

/** Such as `; did you mean "demo"?`, empty when nothing is near. */
function meant(word: string, words: readonly string[], prefix = ''): string {
  const near = nearest(word, words);
  return near === null ? '' : `; did you mean "${prefix}${near}"?`;
}

interface Options {
  readonly values: {
    readonly config?: string;
    readonly force?: boolean;
    readonly help?: boolean;
    readonly version?: boolean;
    readonly 'log-level'?: string;
    readonly 'log-format'?: string;
  };
  readonly positionals: readonly string[];
}

function parseOptions(argv: readonly string[]): Options {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: OPTIONS,
    });
  } catch (error) {
    throw invalid(optionProblem(error));
  }
}

/** Node.js's own text advises `--` before arguments that begin with a dash; pgtls has none. */
function optionProblem(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const [, option = ''] = /^Unknown option '(-[^']*)'/.exec(text) ?? [];
  if (option === '') {
    return text;
  }
  const near = meant(option.replace(/^-+/, ''), Object.keys(OPTIONS), '--');
  return `unknown option "${option}"${near}`;
}

function required(name: CommandName, config: string | undefined): string {
  if (config === undefined || config === '') {
    const example = name === 'run' ? 'pgtls -c pgtls.toml' : `pgtls ${name} pgtls.toml`;
    throw invalid(`no configuration file given; expected such as: ${example}`, name);
  }
  return config;
}

function oneOf<T extends string>(
  name: CommandName,
  option: string,
  value: string | undefined,
  values: readonly T[],
): T | null {
  const found = values.find((candidate) => candidate === value);
  if (value !== undefined && found === undefined) {
    const problem = `${option} "${value}" is unknown; expected ${values.join(', ')}`;
    throw invalid(`${problem}${meant(value, values)}`, name);
  }
  return found ?? null;
}

/** With where to read more: of the command, when it is known which. */
function invalid(message: string, name: CommandName | null = null): PgtlsError {
  const help = name === null || name === 'run' ? 'pgtls --help' : `pgtls ${name} --help`;
  return new PgtlsError('PGTLS_ARGUMENTS_INVALID', `${message}\nSee ${help}`);
}
