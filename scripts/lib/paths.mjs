/** Where things lie in the repository, for the scripts. */
import { fileURLToPath } from 'node:url';

/** The repository's root, with a trailing slash removed. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** Ignored folder for stamps, locks and reports. */
export const CACHE = `${ROOT}/.cache`;

/** The generated part of the addon: the .node file (ignored) and its types (committed). */
export const BINDING = `${ROOT}/crates/pgtls-napi/binding`;

/** The built command. */
export const PROGRAM = `${ROOT}/dist/cli/main.js`;
