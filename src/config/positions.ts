/**
 * Lines and columns of keys. smol-toml gives no place for a parsed key, so toml-eslint-parser is loaded here, and only
 * when there is something to place: its load costs more than a whole good start of the configuration.
 *
 * May import the other files of config/ only.
 */
import { createRequire } from 'node:module';
import type { AST } from 'toml-eslint-parser';
import { aliasOf, tableOf } from './aliases.ts';
import { type ConfigDiagnostic, type Finding, formatKeyPath, type KeyPath } from './diagnostics.ts';

interface Place {
  readonly line: number;
  readonly column: number;
}

type Places = Map<string, Place>;

const TOP_OF_FILE: Place = { line: 1, column: 1 };

/** Gives each finding its place in `source` and sorts them by it; a key that isn't there is placed at its table. */
export function placeFindings(source: string, findings: readonly Finding[]): ConfigDiagnostic[] {
  if (findings.length === 0) {
    return [];
  }
  const places = findPlaces(source);
  const placed = findings.map((finding) => {
    const path = writtenPath(finding.path, (candidate) => places.has(nameOf(candidate)));
    const { message, suggestion } = finding;
    return { keyPath: formatKeyPath(path), ...nearestPlace(path, places), message, suggestion };
  });
  return placed.sort((left, right) => left.line - right.line || left.column - right.column);
}

/** The path as it is spelt where `isThere` says: the first pgtls's name, and no index behind a single value. */
export function writtenPath(path: KeyPath, isThere: (path: KeyPath) => boolean): KeyPath {
  const last = path.at(-1);
  if (isThere(path) || last === undefined) {
    return path;
  }
  const parent = path.slice(0, -1);
  if (typeof last === 'number') {
    return writtenPath(parent, isThere);
  }
  const alias = aliasOf(tableOf(parent), last);
  return alias !== null && isThere([...parent, alias]) ? [...parent, alias] : path;
}

function nearestPlace(path: KeyPath, places: Places): Place {
  for (let length = path.length; length > 0; length -= 1) {
    const place = places.get(nameOf(path.slice(0, length)));
    if (place !== undefined) {
      return place;
    }
  }
  return TOP_OF_FILE;
}

function nameOf(path: KeyPath): string {
  return JSON.stringify(path);
}

function findPlaces(source: string): Places {
  const places: Places = new Map();
  try {
    const [top] = loadParser().parseTOML(source, { tomlVersion: 'latest' }).body;
    for (const node of top.body) {
      if (node.type === 'TOMLTable') {
        notePrefixes([], node.resolvedKey, node, places);
        node.body.forEach((pair) => {
          notePair(node.resolvedKey, pair, places);
        });
      } else {
        notePair([], node, places);
      }
    }
  } catch {
    // The parsers differ in what they accept: a diagnostic without a place is still a diagnostic.
  }
  return places;
}

/** A synchronous load; Node.js loads ES modules by require since 20.19. */
function loadParser(): typeof import('toml-eslint-parser') {
  return createRequire(import.meta.url)('toml-eslint-parser');
}

function notePair(base: KeyPath, pair: AST.TOMLKeyValue, places: Places): void {
  const names = pair.key.keys.map((name) => (name.type === 'TOMLBare' ? name.name : name.value));
  notePrefixes(base, names, pair, places);
  noteValue([...base, ...names], pair.value, places);
}

function noteValue(path: KeyPath, value: AST.TOMLContentNode, places: Places): void {
  if (value.type === 'TOMLArray') {
    value.elements.forEach((element, index) => {
      notePrefixes(path, [index], element, places);
      noteValue([...path, index], element, places);
    });
  } else if (value.type === 'TOMLInlineTable') {
    value.body.forEach((pair) => {
      notePair(path, pair, places);
    });
  }
}

function notePrefixes(base: KeyPath, steps: KeyPath, node: AST.TOMLNode, places: Places): void {
  const { line, column } = node.loc.start;
  for (let length = 1; length <= steps.length; length += 1) {
    const name = nameOf([...base, ...steps.slice(0, length)]);
    if (!places.has(name)) {
      places.set(name, { line, column: column + 1 });
    }
  }
}
