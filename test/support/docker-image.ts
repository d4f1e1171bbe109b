/** The Dockerfile of examples/docker, as far as tests follow it: its stages, what they copy, and how the image is started. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './examples.ts';

/** One COPY; `from` null = of the build context. */
export interface Copy {
  readonly from: string | null;
  readonly sources: readonly string[];
  readonly target: string;
}

/** What the file says. */
export interface Image {
  readonly text: string;
  readonly stages: readonly { readonly base: string; readonly name: string | null }[];
  readonly copies: readonly Copy[];
  readonly user: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  /** The command that asks whether it is healthy. */
  readonly healthcheck: readonly string[];
}

/** Reads it. */
export function readImage(): Image {
  const text = readFileSync(join(ROOT, 'examples/docker/Dockerfile'), 'utf8');
  const instructions = text.replaceAll(/\\\n\s*/g, ' ').split('\n');
  const all = (name: string) =>
    instructions
      .filter((line) => line.startsWith(`${name} `))
      .map((line) => line.slice(name.length + 1));
  const last = (name: string) => all(name).at(-1) ?? '';
  const list = (words: string) => JSON.parse(words) as string[];
  return {
    text,
    stages: all('FROM').map((line) => {
      const [base = '', , name = null] = line.split(' ');
      return { base, name };
    }),
    copies: all('COPY').map(copyOf),
    user: last('USER'),
    entrypoint: list(last('ENTRYPOINT')),
    command: list(last('CMD')),
    healthcheck: list(last('HEALTHCHECK').replace(/^.* CMD /, '')),
  };
}

function copyOf(line: string): Copy {
  const words = line.split(' ');
  const from = words[0]?.startsWith('--from=') ? words[0].slice('--from='.length) : null;
  const paths = from === null ? words : words.slice(1);
  return { from, sources: paths.slice(0, -1), target: paths.at(-1) ?? '' };
}
