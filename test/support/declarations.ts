/** Interfaces as tsc writes them into a .d.ts file: their members with the types, as one flat list. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const DIST = fileURLToPath(new URL('../../dist', import.meta.url));

/** The text of what is published about a file of src/. */
export function declarations(file: string): string {
  return readFileSync(join(DIST, file.replace(/\.ts$/, '.d.ts')), 'utf8');
}

/** The files of src/ from which src/index.ts exports, with the names. */
export function exportedFrom(): { readonly file: string; readonly names: readonly string[] }[] {
  const found = declarations('index.ts').matchAll(
    /export (?:type )?(?:\{([^}]*)\}|\*) from '\.\/(.*)'/g,
  );
  return [...found].map(([, list, file = '']) => ({
    file,
    names:
      list === undefined
        ? exportsOf(declarations(file))
        : list
            .split(',')
            .map((name) => name.trim().replace(/^type /, ''))
            .filter((name) => name !== ''),
  }));
}

function exportsOf(text: string): string[] {
  const found = text.matchAll(
    /^export (?:declare )?(?:interface|type|const|class|function) (\w+)/gm,
  );
  return [...found].map(([, name = '']) => name);
}

/** One member; those of an object within are `outer.inner`, after `outer`, which is an `object`. */
export interface Member {
  /** With `?` where it may be left out. */
  readonly name: string;
  readonly type: string;
}

/** The members of an interface, inherited ones first; null = the file has no such interface. */
export function membersOf(file: string, name: string): Member[] | null {
  const text = declarations(file).replaceAll(/ *\/\*\*[\s\S]*?\*\/\n?/g, '');
  const head = `^(?:export )?interface ${name}(?: extends (\\w+))? \\{\\n([\\s\\S]*?)^\\}`;
  const found = new RegExp(head, 'm').exec(text);
  if (found === null) {
    return null;
  }
  const [, parent, body = ''] = found;
  const inherited = parent === undefined ? [] : (membersOf(file, parent) ?? []);
  return [...inherited, ...membersIn(body.split('\n'))];
}

function membersIn(lines: readonly string[]): Member[] {
  const members: Member[] = [];
  const open: number[] = [];
  for (const line of lines.map((text) => text.trim().replace(/;$/, '')).filter(Boolean)) {
    const outer = members[open.at(-1) ?? -1];
    if (line.startsWith('}')) {
      members[open.pop() ?? 0] = { name: outer?.name ?? '', type: `object${line.slice(1)}` };
      continue;
    }
    const member = memberOf(line);
    members.push({
      ...member,
      name: `${outer === undefined ? '' : `${outer.name}.`}${member.name}`,
    });
    if (member.type === '{') {
      open.push(members.length - 1);
    }
  }
  return members;
}

/** The type is `{` where an object begins. */
function memberOf(line: string): Member {
  const found = /^(?:readonly )?(\w+|\[[\w.]+\])(\??)(?:: )?([^:].*)$/.exec(line);
  if (found === null) {
    throw new Error(`a line of an interface that is no member: ${line}`);
  }
  const [, name = '', optional = '', type = ''] = found;
  return {
    name: `${name}${optional}`,
    type: optional === '' ? type : type.replace(/ \| undefined$/, ''),
  };
}
