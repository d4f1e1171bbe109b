/**
 * The commands and options of `pgtls` as one table: what is parsed, what `--help` and the manual page say, and what shells
 * complete are made of it.
 *
 * Imports types only.
 */
import type { LogFormat, LogLevel } from '../config/schema.ts';

/** Shells that the command line can be completed in. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

export const LOG_LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];
export const LOG_FORMATS: readonly LogFormat[] = ['json', 'pretty'];

/** What can be said with dashes, as node:util's parseArgs takes it. */
export const OPTIONS = {
  config: { type: 'string', short: 'c' },
  'log-level': { type: 'string' },
  'log-format': { type: 'string' },
  force: { type: 'boolean' },
  version: { type: 'boolean', short: 'v' },
  help: { type: 'boolean', short: 'h' },
} as const;
export type OptionName = keyof typeof OPTIONS;

/** An option as it is explained. */
interface OptionHelp {
  /** What stands for its value; null = it takes none. */
  readonly value: string | null;
  readonly meaning: string;
  /** Its values, when they are known. */
  readonly words: readonly string[];
}

/** The explanation of each option. */
export const OPTION_HELP: Readonly<Record<OptionName, OptionHelp>> = {
  config: { value: 'FILE', meaning: 'the configuration file (TOML)', words: [] },
  'log-level': {
    value: 'LEVEL',
    meaning: "trace, debug, info, warn or error, instead of the file's",
    words: LOG_LEVELS,
  },
  'log-format': {
    value: 'FORMAT',
    meaning: "json or pretty, instead of the file's",
    words: LOG_FORMATS,
  },
  force: { value: null, meaning: 'replace the file if there is one', words: [] },
  version: {
    value: null,
    meaning: 'print the versions of pgtls, rustls and its crypto provider',
    words: [],
  },
  help: { value: null, meaning: 'print this', words: [] },
};

/** A command line that works, and what for. */
interface Example {
  readonly line: string;
  readonly what: string;
}

/** One command as it is explained and completed. */
interface CommandHelp {
  /** Command lines, operands and options in capitals or brackets. */
  readonly usage: readonly string[];
  /** In half a sentence. */
  readonly summary: string;
  /** What `pgtls help NAME` says of it: sentences, one a paragraph. */
  readonly about: readonly string[];
  /** Those it takes beside `--help` and `--version`. */
  readonly options: readonly OptionName[];
  /** Words that may stand behind it. */
  readonly words: readonly string[];
  /** Whether a file may stand behind it. */
  readonly takesFile: boolean;
  readonly examples: readonly Example[];
}

/** Names of commands, in the order in which help lists them. */
export const COMMAND_NAMES = [
  'run',
  'validate',
  'doctor',
  'demo',
  'init',
  'completion',
  'help',
] as const;
export type CommandName = (typeof COMMAND_NAMES)[number];

/** Every command by its name. */
export const COMMANDS: Readonly<Record<CommandName, CommandHelp>> = {
  run: {
    usage: ['pgtls -c FILE', 'pgtls run -c FILE'],
    summary: 'run with a configuration file',
    about: [
      'Checks the file and everything that it names, binds the listeners and serves. Nothing is bound before everything is valid. The log goes to standard output, errors of the start to standard error.',
      'SIGTERM and SIGINT drain, SIGHUP reloads, SIGUSR2 lets a successor take over.',
    ],
    options: ['config', 'log-level', 'log-format'],
    words: [],
    takesFile: false,
    examples: [
      { line: 'pgtls -c pgtls.toml', what: 'in production' },
      {
        line: 'pgtls -c pgtls.toml --log-level debug --log-format pretty',
        what: 'to see every step of every connection',
      },
    ],
  },
  validate: {
    usage: ['pgtls validate [-c] FILE'],
    summary: 'check the file and its certificates, without binding anything',
    about: [
      'Reads the file, every certificate, key, CA, CRL and user map that it names, and prints for each route where it listens, where it leads, its certificates with names, chain and end, and whether SCRAM channel binding can work. Warnings and errors go to standard error as file:line:column: key: message, all of them together.',
    ],
    options: ['config'],
    words: [],
    takesFile: true,
    examples: [
      { line: 'pgtls validate pgtls.toml', what: 'check it' },
      {
        line: 'pgtls validate /etc/pgtls/pgtls.toml && systemctl reload pgtls',
        what: 'check it, then let the running service take it over',
      },
    ],
  },
  doctor: {
    usage: ['pgtls doctor [[-c] FILE]'],
    summary: 'what this machine offers, and what it lacks for production or for FILE',
    about: [
      'Prints platform, libc, Node.js, the native binding, its crypto provider, the features of the CPU, and the limits of open files and of queued connections, with one remedy for each that is too low: for max_client_conn and listen_backlog of FILE, else for the defaults.',
    ],
    options: ['config'],
    words: [],
    takesFile: true,
    examples: [
      { line: 'pgtls doctor', what: 'for the defaults' },
      { line: 'pgtls doctor -c pgtls.toml', what: 'for the limits of that file' },
    ],
  },
  demo: {
    usage: ['pgtls demo'],
    summary: 'try it: an embedded PostgreSQL with pgtls in front',
    about: [
      'Starts a PostgreSQL in a temporary directory, makes a certificate authority and a certificate, runs pgtls in front, asks a first query, and prints what to try next. Ctrl-C ends all of it and removes the directory.',
    ],
    options: ['log-level', 'log-format'],
    words: [],
    takesFile: false,
    examples: [
      { line: 'pgtls demo', what: 'until Ctrl-C' },
      { line: 'pgtls demo --log-level debug', what: 'and watch the connections' },
    ],
  },
  init: {
    usage: ['pgtls init [FILE]'],
    summary: 'write a commented configuration to begin with (pgtls.toml)',
    about: [
      'Writes one route with the keys that are asked for most, commented. A file that is there is left alone unless --force is given.',
    ],
    options: ['config', 'force'],
    words: [],
    takesFile: true,
    examples: [
      { line: 'pgtls init', what: 'writes pgtls.toml' },
      { line: 'pgtls init /etc/pgtls/pgtls.toml --force', what: 'replaces that file' },
    ],
  },
  completion: {
    usage: ['pgtls completion SHELL'],
    summary: 'print what completes this command line in bash, zsh or fish',
    about: ['Prints a script for bash, zsh or fish to standard output.'],
    options: [],
    words: SHELLS,
    takesFile: false,
    examples: [
      { line: 'source <(pgtls completion bash)', what: 'in ~/.bashrc' },
      { line: 'source <(pgtls completion zsh)', what: 'in ~/.zshrc, behind compinit' },
      { line: 'pgtls completion fish | source', what: 'in config.fish' },
    ],
  },
  help: {
    usage: ['pgtls help [COMMAND]'],
    summary: 'explain a command, as COMMAND --help does',
    about: ['Without COMMAND it prints the same as --help: all commands and options.'],
    options: [],
    words: COMMAND_NAMES.filter((name) => name !== 'help'),
    takesFile: false,
    examples: [{ line: 'pgtls help validate', what: 'the same as pgtls validate --help' }],
  },
};

/** What the process ends with, by the number. */
export const EXIT_MEANINGS: readonly string[] = [
  'fine',
  'runtime error, or told to end a second time',
  'configuration or command line',
  'native binding missing',
];

/** What a running pgtls makes of signals. */
export const SIGNALS: readonly (readonly [names: string, meaning: string])[] = [
  ['SIGTERM, SIGINT', 'drain and end; a second one ends at once'],
  ['SIGHUP', 'reload the file and everything that it names, all or nothing'],
  ['SIGUSR2', 'let a successor process take over'],
];

/** Variables of the environment that the command heeds, beside `${NAME}` in the file. */
export const ENVIRONMENT: readonly (readonly [name: string, meaning: string])[] = [
  ['NO_COLOR', 'not empty: no colours, though it is a terminal'],
  ['FORCE_COLOR', 'colours, though it is none; 0 or false: no colours'],
];

/** Whether that is the name of a command. */
export function isCommandName(word: string): word is CommandName {
  return COMMAND_NAMES.some((name) => name === word);
}
