/** `pgtls completion`: scripts for shells, made of the same lists that the command line is parsed by. */
import { COMMANDS, LOG_FORMATS, LOG_LEVELS, OPTIONS, SHELLS, type Shell } from './arguments.ts';

const VALUES: Readonly<Record<string, readonly string[]>> = {
  'log-level': LOG_LEVELS,
  'log-format': LOG_FORMATS,
};

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

function bash(): string {
  const options = Object.entries(OPTIONS).flatMap(([name, option]) => [
    `--${name}`,
    ...('short' in option ? [`-${option.short}`] : []),
  ]);
  const values = Object.entries(VALUES).map(
    ([name, words]) =>
      `    --${name}) COMPREPLY=($(compgen -W "${words.join(' ')}" -- "$word")) ;;`,
  );
  return `_pgtls() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}"
  case "$before" in
    -c|--config|validate|init) COMPREPLY=($(compgen -f -- "$word")) ;;
    completion) COMPREPLY=($(compgen -W "${SHELLS.join(' ')}" -- "$word")) ;;
${values.join('\n')}
    *)
      if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "${COMMANDS.join(' ')} ${options.join(' ')}" -- "$word"))
      else
        COMPREPLY=($(compgen -W "${options.join(' ')}" -- "$word"))
      fi ;;
  esac
}
complete -o filenames -F _pgtls pgtls
`;
}

function fish(): string {
  const commands = COMMANDS.map(
    (name) => `complete -c pgtls -n __fish_use_subcommand -f -a ${name}`,
  );
  const options = Object.entries(OPTIONS).map(([name, option]) => {
    const short = 'short' in option ? ` -s ${option.short}` : '';
    const words = VALUES[name];
    const takes = words === undefined ? ' -r' : ` -x -a "${words.join(' ')}"`;
    return `complete -c pgtls -l ${name}${short}${option.type === 'string' ? takes : ' -f'}`;
  });
  const shells = `complete -c pgtls -n "__fish_seen_subcommand_from completion" -f -a "${SHELLS.join(' ')}"`;
  return `${[...commands, ...options, shells].join('\n')}\n`;
}
