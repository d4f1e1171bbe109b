/**
 * `npm run package`: what is published, into target/package/tarballs: tarballs, debug information, a bill of materials, and SHA256SUMS of all that.
 *
 *     npm run package                                   builds this machine's binary, packs it and pgtls
 *     npm run package -- --target aarch64-apple-darwin  builds that one instead (repeatable; needs its Rust std)
 *     npm run package -- --build-only                   builds, and packs nothing
 *     npm run package -- --pack-only                    packs what lies in target/package/bindings: every platform has to be there
 *     npm run package -- --repository URL               what the packages name as their origin, for npm's provenance
 */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { bindingProblems } from './lib/binding-problems.mjs';
import { buildTypeScript } from './lib/builds.mjs';
import { packAll, TARBALLS } from './lib/packages.mjs';
import { hostTarget, targets } from './lib/platforms.mjs';
import {
  BINDINGS,
  bindingFile,
  buildPublishedBinding,
  debugFile,
} from './lib/published-binding.mjs';
import { billOfMaterials } from './lib/sbom.mjs';

const { values: options } = parseArgs({
  options: {
    target: { type: 'string', multiple: true },
    'build-only': { type: 'boolean', default: false },
    'pack-only': { type: 'boolean', default: false },
    repository: { type: 'string' },
  },
});

try {
  if (options['pack-only']) {
    demandEveryBinding();
  } else {
    wantedTargets().forEach(buildPublishedBinding);
  }
  if (!options['build-only']) {
    packEverything();
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

function wantedTargets() {
  return (options.target ?? [hostTarget().triple]).map((triple) => {
    const found = targets().find((target) => target.triple === triple);
    if (found === undefined) {
      throw new Error(
        `${triple} is none of: ${targets()
          .map((target) => target.triple)
          .join(', ')}`,
      );
    }
    return found;
  });
}

/** A release has them all with their debug information, and each is what it is called: they come from other machines. */
function demandEveryBinding() {
  const present = new Set(readdirSync(BINDINGS));
  const problems = targets().flatMap((target) => {
    const file = bindingFile(target);
    const debug = debugFile(target);
    return [
      ...(present.has(file)
        ? bindingProblems(target, readFileSync(join(BINDINGS, file))).map(
            (text) => `${file}: ${text}`,
          )
        : [`${file} is missing in ${BINDINGS}`]),
      ...(debug === null || existsSync(debug) ? [] : [`${debug} is missing`]),
    ];
  });
  if (problems.length > 0) {
    throw new Error(problems.join('\n'));
  }
}

function packEverything() {
  if (buildTypeScript({ quiet: true }) !== 0) {
    throw new Error('building the TypeScript failed');
  }
  const tarballs = packAll({ repository: options.repository ?? null });
  const bill = join(TARBALLS, 'pgtls.cdx.json');
  writeFileSync(bill, `${JSON.stringify(billOfMaterials(), null, 2)}\n`);
  const sums = [...tarballs, ...copyDebugInformation(), bill].map((file) => {
    const sum = createHash('sha256').update(readFileSync(file)).digest('hex');
    return `${sum}  ${basename(file)}\n`;
  });
  writeFileSync(join(TARBALLS, 'SHA256SUMS'), sums.join(''));
}

/** Of the binaries that are here: what is published of a release beside the packages. @returns {string[]} */
function copyDebugInformation() {
  return targets().flatMap((target) => {
    const debug = debugFile(target);
    if (debug === null || !existsSync(debug)) {
      return [];
    }
    const copy = join(TARBALLS, basename(debug));
    copyFileSync(debug, copy);
    return [copy];
  });
}
