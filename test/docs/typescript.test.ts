/** TypeScript in the documents: programs compile against what is published, and signatures are those of what is published. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { exportedFrom } from '../support/declarations.ts';
import { ALL_DOCUMENTS, type Block, blocksOf, ROOT } from './books.ts';

const BLOCKS = blocksOf(ALL_DOCUMENTS, 'ts');
const PROGRAMS = BLOCKS.filter(({ text }) => text.includes('import '));
const SIGNATURES = BLOCKS.filter((block) => !PROGRAMS.includes(block));
/** Of something that is exported itself; the others are methods of a proxy. */
const DECLARATION = /^(class|const|function) (\w+)/;

/** What tsc says of these files, by the options of test/types, in a folder where pgtls is installed. */
function complaintsAbout(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'pgtls-docs-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(ROOT, join(folder, 'node_modules/pgtls'));
  symlinkSync(join(ROOT, 'node_modules/@types'), join(folder, 'node_modules/@types'));
  const all = {
    ...files,
    'package.json': '{ "type": "module" }',
    'tsconfig.json': JSON.stringify({
      extends: join(ROOT, 'test/types/tsconfig.json'),
      compilerOptions: { noImplicitReturns: true },
      files: Object.keys(files),
    }),
  };
  for (const [name, text] of Object.entries(all)) {
    writeFileSync(join(folder, name), text);
  }
  const { stdout } = spawnSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', '.'], {
    cwd: folder,
    encoding: 'utf8',
  });
  return stdout;
}

/** The text on the line where it stands in the document, for what tsc says to be found. */
function inPlace({ line, text }: Block, before = ''): string {
  return `${before}${'\n'.repeat(line)}${text}`;
}

function fileOf({ document, line }: Block): string {
  return `${document.replaceAll('/', '-')}-${line}.ts`;
}

/** A module in which the block stands for what it says, and has to be the same as what pgtls has. */
function compared(block: Block): string {
  const [, kind, name = ''] = DECLARATION.exec(block.text) ?? [];
  const [, parent = 'Error'] = /^class \w+ extends (\w+)/.exec(block.text) ?? [];
  const values = ['createProxy', 'refuse', 'ERROR_CODES'];
  const types = exportedFrom()
    .flatMap(({ names }) => names)
    .filter((type) => ![name, parent, ...values].includes(type))
    .map((type) => `export type ${type} = real.${type};`);
  const inherited = parent === 'Error' ? '' : `import { ${parent} } from 'pgtls';`;
  const prelude = `import type * as real from 'pgtls'; ${inherited} ${types.join(' ')}`;
  if (kind === undefined) {
    return `${inPlace(block, `${prelude} interface Documented {`)}}
type Rest = Omit<real.PgtlsProxy, keyof Documented>;
declare const theirs: real.PgtlsProxy, documented: Documented & Rest;
export const there: Documented = theirs, back: real.PgtlsProxy = documented;`;
  }
  const type = kind === 'class' ? name : `typeof ${name}`;
  const original = kind === 'class' ? `real.${name}` : `typeof real.${name}`;
  const declared = { ...block, text: block.text.replace(DECLARATION, 'declare $&') };
  return `${inPlace(declared, prelude)}
declare const theirs: ${original}, documented: ${type};
export const there: ${type} = theirs, back: ${original} = documented;`;
}

describe('TypeScript in the documents', () => {
  it('compiles under strict options', () => {
    const files = PROGRAMS.map((block) => [fileOf(block), inPlace(block)]);
    expect(complaintsAbout(Object.fromEntries(files))).toBe('');
  });

  it('declares what there is, as it is', () => {
    const files = SIGNATURES.map((block) => [fileOf(block), compared(block)]);
    expect(complaintsAbout(Object.fromEntries(files))).toBe('');
  });

  it('is there', () => {
    expect(PROGRAMS.length).toBeGreaterThan(1);
    expect(SIGNATURES.length).toBeGreaterThan(10);
  });

  it('would be complained about', () => {
    const [block] = PROGRAMS;
    const text = `${block?.text}const untyped = { route: ({ user }) => user };\nvoid untyped;\n`;
    expect(complaintsAbout({ 'wrong.ts': text })).toContain('TS7031');
    const signature = 'close(): Promise<number>;\n';
    const wrong = compared({ document: '', line: 0, language: 'ts', text: signature });
    expect(complaintsAbout({ 'wrong.ts': wrong })).toContain('TS2322');
  });
});
