/** The configurations that people copy: TOML in the documents, and the .toml files of examples/. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Every one with a `[[proxy]]`, by where it stands. */
export function copiedConfigurations(): (readonly [place: string, toml: string])[] {
  return [...documentBlocks(), ...exampleFiles()].filter(([, toml]) => toml.includes('[[proxy]]'));
}

function documentBlocks(): (readonly [string, string])[] {
  const documents = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)];
  return documents
    .filter((name) => name.endsWith('.md'))
    .flatMap((name) => {
      const fences = read(name).matchAll(/^```toml\n([\s\S]*?)^```$/gm);
      return [...fences].map(([, block = ''], index) => [`${name}, ${index + 1}`, block] as const);
    });
}

function exampleFiles(): (readonly [string, string])[] {
  const names = readdirSync(join(ROOT, 'examples'), { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => name.endsWith('.toml'))
    .map((name) => [`examples/${name}`, read(`examples/${name}`)] as const);
}

function read(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8');
}
