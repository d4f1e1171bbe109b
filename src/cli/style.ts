/**
 * Colours and symbols for people at a terminal; for everybody else text stays as it is.
 *
 * Not node:util's `styleText`: its default looks at process.stdout, which makes a pipe non-blocking for all who share it.
 */
import { inspect } from 'node:util';
import type { Environment } from '../config/environment.ts';

/** What text can be for the eye. */
type Tone = 'good' | 'doubtful' | 'bad' | 'strong' | 'faint' | 'name';

/** How text is written to one stream. */
export interface Style {
  /** Whether somebody looks at it: symbols and a summary are welcome. */
  readonly isRich: boolean;
  /** The text in that tone. */
  readonly paint: (tone: Tone, text: string) => string;
}

const FORMATS: Readonly<Record<Tone, 'green' | 'yellow' | 'red' | 'bold' | 'dim' | 'cyan'>> = {
  good: 'green',
  doubtful: 'yellow',
  bad: 'red',
  strong: 'bold',
  faint: 'dim',
  name: 'cyan',
};

/** For pipes, files and those who want no colours. */
export const PLAIN: Style = { isRich: false, paint: (_, text) => text };

const RICH: Style = {
  isRich: true,
  paint: (tone, text) => {
    const [open = 0, close = 0] = inspect.colors[FORMATS[tone]] ?? [];
    return text === '' ? '' : `\x1b[${open}m${text}\x1b[${close}m`;
  },
};

/** The style of a stream that is a terminal or isn't. */
export function styleFor(isTerminal: boolean, environment: Environment): Style {
  return wantsColours(isTerminal, environment) ? RICH : PLAIN;
}

/** As Node.js decides it for its own output: FORCE_COLOR, then NO_COLOR, then whether it is a terminal that knows colours. */
function wantsColours(isTerminal: boolean, environment: Environment): boolean {
  const { FORCE_COLOR: force, NO_COLOR: refuse, TERM: terminal } = environment;
  if (force !== undefined) {
    return force !== '0' && force !== 'false';
  }
  return isTerminal && !refuse && terminal !== 'dumb';
}
