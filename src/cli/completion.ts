/** `pgtls completion`: scripts for shells, made of the same table that the command line is parsed by. */
import {
  COMMAND_NAMES,
  COMMANDS,
  type CommandName,
  OPTION_HELP,
  OPTIONS,
  type OptionName,
  type Shell,
} from './commands.ts';

const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

/** The script for that shell; evaluated there, it completes commands, options, their values and files. */
export function completionScript(shell: Shell): string {
  switch (shell) {
    case 'bash':
      return bash();
    case 'zsh':
      // zsh runs bash's with its own compatibility functions.
      return `#compdef pgtls\nautoload -U +X bashcompinit && bashcompinit\n${bash()}`;
    case 'fish':
      return fish();
  }
}

/** How an option may be typed: `--config -c`. */
function spellings(name: OptionName): string[] {
  const option = OPTIONS[name];
  return [`--${name}`, ...('short' in option ? [`-${option.short}`] : [])];
}

/** The options of a command; those that all take included. */
function optionsOf(name: CommandName): OptionName[] {
  const own = COMMANDS[name].options;
  return OPTION_NAMES.filter(
    (option) => own.includes(option) || option === 'help' || option === 'version',
  );
}

function bash(): string {
  const complete = (words: readonly string[]) =>
    `COMPREPLY=($(compgen -W "${words.join(' ')}" -- "$word"))`;
  // A line each: names may have spaces.
  const files = `local IFS=$'\\n'; COMPREPLY=($(compgen -f -- "$word"))`;
  const values = OPTION_NAMES.filter((name) => OPTION_HELP[name].value !== null).map((name) => {
    const { words } = OPTION_HELP[name];
    return `    ${spellings(name).join('|')}) ${words.length === 0 ? files : complete(words)}; return ;;`;
  });
  const commands = COMMAND_NAMES.map((name) => {
    const { words, takesFile } = COMMANDS[name];
    const options = optionsOf(name).flatMap(spellings);
    const dashed = `case "$word" in -*) ${complete(options)} ;;`;
    const other = takesFile ? files : complete(words);
    return `    ${name}) ${dashed} *) ${other} ;; esac ;;`;
  });
  const all = complete([...COMMAND_NAMES, ...OPTION_NAMES.flatMap(spellings)]);
  return `_pgtls() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}"
  # --config=FILE comes as three words.
  if [ "$word" = "=" ]; then
    word=
  elif [ "$before" = "=" ]; then
    before="\${COMP_WORDS[COMP_CWORD-2]}"
  fi
  case "$before" in
${values.join('\n')}
  esac
  if [ "$COMP_CWORD" = 1 ]; then
    ${all}
    return
  fi
  case "\${COMP_WORDS[1]}" in
${commands.join('\n')}
    *) ${complete(OPTION_NAMES.flatMap(spellings))} ;;
  esac
}
complete -o filenames -F _pgtls pgtls
`;
}

function fish(): string {
  const quoted = (text: string) => `'${text.replaceAll(/['\\]/g, (found) => `\\${found}`)}'`;
  const commands = COMMAND_NAMES.map(
    (name) =>
      `complete -c pgtls -n __fish_use_subcommand -f -a ${name} -d ${quoted(COMMANDS[name].summary)}`,
  );
  const options = OPTION_NAMES.map((name) => {
    const option = OPTIONS[name];
    const { value, words, meaning } = OPTION_HELP[name];
    const short = 'short' in option ? ` -s ${option.short}` : '';
    const values = words.length === 0 ? ' -r' : ` -x -a ${quoted(words.join(' '))}`;
    const takes = value === null ? ' -f' : values;
    return `complete -c pgtls -l ${name}${short}${takes} -d ${quoted(meaning)}`;
  });
  const words = COMMAND_NAMES.filter((name) => COMMANDS[name].words.length > 0).map(
    (name) =>
      `complete -c pgtls -n ${quoted(`__fish_seen_subcommand_from ${name}`)} -f -a ${quoted(COMMANDS[name].words.join(' '))}`,
  );
  return `${[...commands, ...options, ...words].join('\n')}\n`;
}
