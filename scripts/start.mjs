/**
 * `npm start`: sets up what is missing, then runs `pgtls demo` until Ctrl-C.
 *
 * A terminal sends Ctrl-C to every process of the foreground group and npm passes it on once more; a second signal means
 * "end at once" to pgtls. So the demo runs outside that group and gets exactly one signal for each that was meant. And npm gives
 * SIGTERM to its shell only, which dies without telling us: then we notice that our parent is gone.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { PROGRAM, ROOT } from './lib/paths.mjs';
import { setup } from './setup.mjs';

const SAME_KEYSTROKE_MILLIS = 1000;
const PARENT_POLL_MILLIS = 500;

if (setup()) {
  runDemo(process.argv.slice(2));
} else {
  process.exitCode = 1;
}

/** @param {readonly string[]} demoArguments */
function runDemo(demoArguments) {
  const args = ['--max-semi-space-size=1', PROGRAM, 'demo', ...demoArguments];
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const forward = onceAKeystroke((signal) => child.kill(signal));
  process.on('SIGINT', () => forward('SIGINT'));
  process.on('SIGTERM', () => forward('SIGTERM'));
  process.on('SIGHUP', () => forward('SIGTERM'));
  const watch = whenNpmIsGone(() => forward('SIGTERM'));
  child.once('exit', (code, signal) => {
    clearInterval(watch);
    process.exitCode = code ?? 128 + constants.signals[signal ?? 'SIGTERM'];
  });
}

/**
 * Drops signals that follow the last one so closely that they are the same keystroke.
 * @param {(signal: NodeJS.Signals) => void} send @returns {(signal: NodeJS.Signals) => void}
 */
function onceAKeystroke(send) {
  let lastSent = Number.NEGATIVE_INFINITY;
  return (signal) => {
    const now = performance.now();
    if (now - lastSent > SAME_KEYSTROKE_MILLIS) {
      lastSent = now;
      send(signal);
    }
  };
}

/** Calls back, once, when npm or the shell it started us with has ended. @param {() => void} callback */
function whenNpmIsGone(callback) {
  if (process.env.npm_lifecycle_event !== 'start') {
    return undefined;
  }
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid !== parent) {
      clearInterval(timer);
      callback();
    }
  }, PARENT_POLL_MILLIS);
  return timer;
}
