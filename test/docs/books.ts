/** The documents, and the fenced blocks in them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root. */
export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url));

/** README and what is in docs/ itself: for who uses pgtls. */
export const DOCUMENTS: readonly string[] = ['README.md', ...markdownIn('docs')];

/** Every document that is read on its own; what is packed with others' code is theirs. */
export const ALL_DOCUMENTS: readonly string[] = [
  ...DOCUMENTS,
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...markdownIn('docs/adr'),
  ...markdownIn('docs/benchmark'),
  'bench/README.md',
  ...markdownIn('examples'),
  ...readdirSync(join(ROOT, 'examples'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => markdownIn(`examples/${name}`)),
];

/** A fenced block and where it stands. */
export interface Block {
  readonly document: string;
  /** The line of its opening fence, from 1. */
  readonly line: number;
  readonly language: string;
  readonly text: string;
}

/** The text of a document. */
export function textOf(document: string): string {
  return readFileSync(join(ROOT, document), 'utf8');
}

/** All fenced blocks of that language in these documents. */
export function blocksOf(documents: readonly string[], language: string): Block[] {
  return documents.flatMap((document) => {
    const text = textOf(document);
    return [...text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)]
      .map((match) => ({
        document,
        line: text.slice(0, match.index).split('\n').length,
        language: match[1] ?? '',
        text: match[2] ?? '',
      }))
      .filter((block) => block.language === language);
  });
}

/** Such as `docs/config.md:12`. */
export function placeOf({ document, line }: Block): string {
  return `${document}:${line}`;
}

function markdownIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `${folder}/${name}`);
}
