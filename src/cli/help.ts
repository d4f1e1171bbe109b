/** `pgtls --help`, `pgtls help COMMAND`: the table of commands.ts as text, 100 columns wide at most. */
import {
  COMMAND_NAMES,
  COMMANDS,
  type CommandName,
  ENVIRONMENT,
  EXIT_MEANINGS,
  OPTION_HELP,
  OPTIONS,
  type OptionName,
  SIGNALS,
} from './commands.ts';
import type { Style } from './style.ts';
import { wrapped } from './wrap.ts';

const WIDTH = 100;
/** Options that every command takes. */
const COMMON: readonly OptionName[] = ['version', 'help'];
const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

type Row = readonly [left: string, right: string];

/** The help about one command, or about all of them. */
export function helpText(topic: CommandName | null, style: Style): string {
  return topic === null ? mainHelp(style) : commandHelp(topic, style);
}

/** How an option is written, such as `-c, --config FILE`. */
function spelledOption(name: OptionName): string {
  const option = OPTIONS[name];
  const { value } = OPTION_HELP[name];
  const short = 'short' in option ? `-${option.short}, ` : '    ';
  return `${short}--${name}${value === null ? '' : ` ${value}`}`;
}

function mainHelp(style: Style): string {
  const commands = COMMAND_NAMES.map((name): Row => {
    const { usage, summary } = COMMANDS[name];
    return [usage[0] ?? '', summary];
  });
  const examples = [
    ...COMMANDS.init.examples.slice(0, 1),
    ...COMMANDS.validate.examples.slice(0, 1),
    ...COMMANDS.run.examples,
    ...COMMANDS.completion.examples.slice(0, 1),
  ].map(({ line, what }): Row => [line, what]);
  const sections = [
    section('Usage', commands, style),
    section('Options', OPTION_NAMES.map(optionRow), style),
    section('Examples', examples, style),
    section('Signals', SIGNALS, style),
    section('Environment', ENVIRONMENT, style),
    section('Exit codes', exitCodes(), style),
  ];
  const title = `${style.paint('strong', 'pgtls')}: TLS in front of PostgreSQL`;
  const more =
    'More on each command: pgtls help COMMAND, and man pgtls; on the file: man 5 pgtls.toml';
  return `${[title, ...sections, more].join('\n\n')}\n`;
}

function commandHelp(name: CommandName, style: Style): string {
  const { usage, summary, about, options, examples } = COMMANDS[name];
  const names = OPTION_NAMES.filter((option) => [...options, ...COMMON].includes(option));
  const sections = [
    `${style.paint('strong', `pgtls ${name}`)}: ${summary}`,
    section(
      'Usage',
      usage.map((line): Row => [line, '']),
      style,
    ),
    ...about.map((paragraph) => wrapped(paragraph, WIDTH).join('\n')),
    section('Options', names.map(optionRow), style),
    section(
      'Examples',
      examples.map(({ line, what }): Row => [line, what]),
      style,
    ),
    section('Exit codes', exitCodes(), style),
  ];
  return `${sections.join('\n\n')}\n`;
}

function optionRow(name: OptionName): Row {
  return [spelledOption(name), OPTION_HELP[name].meaning];
}

function exitCodes(): Row[] {
  return EXIT_MEANINGS.map((meaning, code) => [String(code), meaning]);
}

/** A title and two aligned columns; where the left one is long, the right one goes below it. */
function section(title: string, rows: readonly Row[], { paint }: Style): string {
  const narrow = rows.map(([left]) => left.length).filter((length) => length <= WIDTH / 2);
  const column = Math.max(0, ...narrow) + 4;
  const lines = rows.flatMap(([left, right]) => {
    const [first = '', ...rest] = wrapped(right, WIDTH - column);
    const isLong = left.length + 4 > column;
    const below = (isLong && first !== '' ? [first, ...rest] : rest).map(
      (line) => `${' '.repeat(column)}${line}`,
    );
    const gap = isLong || first === '' ? '' : `${' '.repeat(column - left.length - 2)}${first}`;
    return [`  ${paint('name', left)}${gap}`, ...below];
  });
  return [`${paint('strong', title)}:`, ...lines].join('\n');
}
