/**
 * The command line: argv → one of the commands, the help text, and which exit code an error gets.
 *
 * May import errors.ts, config/ and node only.
 */
import { parseArgs } from 'node:util';
import type { LogFormat, LogLevel } from '../config/schema.ts';
import { nearest } from '../config/suggestion.ts';
import { PgtlsError } from '../errors.ts';

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
  | { readonly kind: 'help' }
  | { readonly kind: 'version' };

/** Shells that the command line can be completed in. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** The process's exit codes. */
export const EXIT_CODES: Readonly<
  Record<'fine' | 'runtime' | 'configuration' | 'binding', number>
> = { fine: 0, runtime: 1, configuration: 2, binding: 3 };

/** What `pgtls --help` prints. */
export const HELP: string = `Usage:
  pgtls -c FILE             run with a configuration file
  pgtls validate -c FILE    check the file and its certificates, without binding anything
  pgtls doctor [-c FILE]    what this machine offers, and what it lacks for production or for FILE
  pgtls demo                try it: an embedded PostgreSQL with pgtls in front
  pgtls init [FILE]         write a commented configuration to begin with (pgtls.toml)
  pgtls completion SHELL    print what completes this command line in bash, zsh or fish

Options:
  -c, --config FILE         the configuration file (TOML)
      --log-level LEVEL     trace, debug, info, warn or error, instead of the file's
      --log-format FORMAT   json or pretty, instead of the file's
      --force               init: replace the file
  -v, --version             print the versions of pgtls, rustls and its crypto provider
  -h, --help                print this

Examples:
  pgtls init
  pgtls validate pgtls.toml && pgtls -c pgtls.toml
  pgtls -c pgtls.toml --log-level debug --log-format pretty
  source <(pgtls completion bash)

Signals:  SIGTERM, SIGINT drain (a second one ends at once); SIGHUP reloads file and certificates;
          SIGUSR2 lets a successor process take over
Exit codes:  0 fine, 1 runtime error, 2 configuration or command line, 3 native binding missing
`;

/** What can be said with dashes. */
export const OPTIONS = {
  config: { type: 'string', short: 'c' },
  force: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
  'log-level': { type: 'string' },
  'log-format': { type: 'string' },
} as const;

export const LOG_LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];
export const LOG_FORMATS: readonly LogFormat[] = ['json', 'pretty'];

/** Parses the arguments behind the program's name; throws PGTLS_ARGUMENTS_INVALID. */
export function parseCommand(argv: readonly string[]): Command {
  const { values, positionals } = parseOptions(argv);
  if (values.help === true) {
    return { kind: 'help' };
  }
  if (values.version === true) {
    return { kind: 'version' };
  }
  const logOptions: LogOptions = {
    logLevel: oneOf('--log-level', values['log-level'], LOG_LEVELS),
    logFormat: oneOf('--log-format', values['log-format'], LOG_FORMATS),
  };
  const [name = 'run', ...rest] = positionals;
  if (values.force === true && name !== 'init') {
    throw invalid('--force is for init alone');
  }
  if (name === 'completion') {
    return { kind: 'completion', shell: shellOf(values.config, rest) };
  }
  const config = configOf(name, values.config, rest);
  if (name === 'init') {
    const isForced = values.force === true;
    return { kind: 'init', configPath: config ?? 'pgtls.toml', isForced };
  }
  return commandOf(name, config, logOptions);
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

function shellOf(config: string | undefined, rest: readonly string[]): Shell {
  const [name = '', ...unexpected] = rest;
  if (config !== undefined || unexpected.length > 0) {
    throw invalid('completion takes the name of a shell, and nothing else');
  }
  const shell = SHELLS.find((known) => known === name);
  if (shell === undefined) {
    throw invalid(`completion "${name}" is unknown; expected ${SHELLS.join(', ')}`);
  }
  return shell;
}

/** The file of `-c`, or the argument of those that can only mean that. */
function configOf(
  name: string,
  config: string | undefined,
  rest: readonly string[],
): string | undefined {
  const takesFile = config === undefined && ['validate', 'doctor', 'init'].includes(name);
  const [file, ...unexpected] = takesFile ? rest : [config, ...rest];
  if (unexpected.length > 0) {
    throw invalid(`unexpected argument "${unexpected[0]}"`);
  }
  return file;
}

function commandOf(name: string, config: string | undefined, logOptions: LogOptions): Command {
  switch (name) {
    case 'run':
      return { kind: 'run', configPath: required(config, 'pgtls -c pgtls.toml'), ...logOptions };
    case 'validate':
      return { kind: 'validate', configPath: required(config, 'pgtls validate -c pgtls.toml') };
    case 'doctor':
      return { kind: 'doctor', configPath: config ?? null };
    case 'demo':
      if (config !== undefined) {
        throw invalid('demo takes no configuration file: it writes its own');
      }
      return { kind: 'demo', ...logOptions };
    default:
      throw invalid(unknownCommand(name));
  }
}

/** The first word, if it is none of a file. */
export const COMMANDS: readonly string[] = [
  'run',
  'validate',
  'doctor',
  'demo',
  'init',
  'completion',
];

function unknownCommand(name: string): string {
  if (name.endsWith('.toml')) {
    return `"${name}" is no command; expected such as: pgtls -c ${name}`;
  }
  return `unknown command "${name}"; expected run, validate, doctor, demo, init or completion${meant(name, COMMANDS)}`;
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

function required(config: string | undefined, example: string): string {
  if (config === undefined || config === '') {
    throw invalid(`no configuration file given; expected such as: ${example}`);
  }
  return config;
}

function oneOf<T extends string>(
  option: string,
  value: string | undefined,
  values: readonly T[],
): T | null {
  const found = values.find((candidate) => candidate === value);
  if (value !== undefined && found === undefined) {
    throw invalid(`${option} "${value}" is unknown; expected ${values.join(', ')}`);
  }
  return found ?? null;
}

function invalid(message: string): PgtlsError {
  return new PgtlsError('PGTLS_ARGUMENTS_INVALID', `${message}\nSee pgtls --help`);
}
