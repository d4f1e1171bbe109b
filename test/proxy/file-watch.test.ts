/** Files that change in place, by rename, by links, and while they are written. */
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { toDataPlaneOptions } from '../../src/data-plane/options.ts';
import { FileEvents } from '../../src/proxy/file-events.ts';
import { FileWatch, fingerprintNow } from '../../src/proxy/file-watch.ts';
import { watchedFiles } from '../../src/proxy/watched-files.ts';
import { config, proxyConfig } from '../data-plane/configuration.ts';

const INTERVAL_MILLIS = 10;
const WAIT = { timeout: 30_000, interval: 5 };

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'pgtls-watch-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Watches until the test ends; `answer` is what becomes of each change. */
function watching(files: readonly string[], answer: () => boolean = () => true) {
  const onChange = vi.fn(async () => answer());
  const used = fingerprintNow(files);
  const watch = new FileWatch({ files, used, intervalMillis: INTERVAL_MILLIS, onChange });
  watch.start();
  onTestFinished(() => watch.stop());
  return { onChange, watch };
}

describe('a change', () => {
  it.each([
    ['in place', (file: string) => writeFileSync(file, 'other text')],
    [
      'by rename',
      (file: string) => {
        writeFileSync(`${file}.new`, 'text');
        renameSync(`${file}.new`, file);
      },
    ],
    ['by removal', (file: string) => unlinkSync(file)],
  ])('%s is told once', async (_, change) => {
    const file = join(directory(), 'tls.crt');
    writeFileSync(file, 'text');
    const { onChange } = watching([file]);
    change(file);
    await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(1), WAIT);
    const second = join(directory(), 'second');
    writeFileSync(second, '');
    const probe = watching([second]);
    writeFileSync(second, 'x');
    await vi.waitFor(() => expect(probe.onChange).toHaveBeenCalledTimes(1), WAIT);
    expect(onChange).toHaveBeenCalledTimes(1);
  });

  it("of Kubernetes' ..data link is one of every file behind it", async () => {
    const volume = directory();
    for (const version of ['..1', '..2']) {
      mkdirSync(join(volume, version));
      writeFileSync(join(volume, version, 'tls.crt'), version);
    }
    symlinkSync('..1', join(volume, '..data'));
    symlinkSync('..data/tls.crt', join(volume, 'tls.crt'));
    const { onChange } = watching([join(volume, 'tls.crt')]);
    symlinkSync('..2', join(volume, '..data_tmp'));
    renameSync(join(volume, '..data_tmp'), join(volume, '..data'));
    await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(1), WAIT);
  });

  it('that came while the files were loaded is not missed', async () => {
    const file = join(directory(), 'tls.crt');
    writeFileSync(file, 'text');
    const used = fingerprintNow([file]);
    writeFileSync(file, 'longer text');
    const onChange = vi.fn(async () => true);
    const watch = new FileWatch({ files: [file], used, intervalMillis: INTERVAL_MILLIS, onChange });
    onTestFinished(() => watch.stop());
    watch.start();
    await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(1), WAIT);
  });

  it('of files that never rest is told nonetheless', async () => {
    const file = join(directory(), 'tls.crt');
    writeFileSync(file, '');
    const { onChange } = watching([file]);
    let size = 0;
    const writing = setInterval(() => writeFileSync(file, 'x'.repeat(++size)), 1);
    onTestFinished(() => clearInterval(writing));
    await vi.waitFor(() => expect(onChange).toHaveBeenCalled(), WAIT);
  });
});

/** How a volume with certificates may be laid out, and what then may happen to it. */
const CHANGES: Record<string, (volume: string) => void> = {
  'in place': (volume) => writeFileSync(join(volume, 'real', 'tls.crt'), 'other text'),
  'by rename': (volume) => {
    writeFileSync(join(volume, 'real', 'new'), 'text');
    renameSync(join(volume, 'real', 'new'), join(volume, 'real', 'tls.crt'));
  },
  'by removal': (volume) => unlinkSync(join(volume, 'real', 'tls.crt')),
  'of its link': (volume) => {
    symlinkSync('../other/tls.crt', join(volume, 'shown', 'new'));
    renameSync(join(volume, 'shown', 'new'), join(volume, 'shown', 'tls.crt'));
  },
  'of a link to its directory': (volume) => {
    symlinkSync('other', join(volume, 'new'));
    renameSync(join(volume, 'new'), join(volume, 'live'));
  },
  'of its directory': (volume) => {
    renameSync(join(volume, 'real'), join(volume, 'old'));
    renameSync(join(volume, 'other'), join(volume, 'real'));
  },
  'of the directory above': (volume) => {
    renameSync(volume, `${volume}.old`);
    onTestFinished(() => rmSync(`${volume}.old`, { recursive: true, force: true }));
  },
};

/** `shown/tls.crt` → `live/tls.crt`, `live` → `real`. */
function linkedVolume(): string {
  const volume = directory();
  for (const name of ['real', 'other', 'shown']) {
    mkdirSync(join(volume, name));
    writeFileSync(join(volume, name, name === 'shown' ? 'README' : 'tls.crt'), name);
  }
  symlinkSync('real', join(volume, 'live'));
  symlinkSync('../live/tls.crt', join(volume, 'shown', 'tls.crt'));
  return volume;
}

describe.runIf(process.platform === 'linux')('while nobody looks', () => {
  it.each(Object.entries(CHANGES))('a change %s is told', async (_, change) => {
    const volume = linkedVolume();
    const { onChange, watch } = watching([join(volume, 'shown', 'tls.crt')]);
    await vi.waitFor(() => expect(watch.isResting).toBe(true), WAIT);
    change(volume);
    await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(1), WAIT);
    await vi.waitFor(() => expect(watch.isResting).toBe(true), WAIT);
  });

  it('what was made anew is watched anew, also where it got the inodes of what it replaced', async () => {
    const volume = linkedVolume();
    const { onChange, watch } = watching([join(volume, 'shown', 'tls.crt')]);
    for (const count of [1, 2, 3]) {
      await vi.waitFor(() => expect(watch.isResting).toBe(true), WAIT);
      rmSync(join(volume, 'real'), { recursive: true });
      mkdirSync(join(volume, 'real'));
      writeFileSync(join(volume, 'real', 'tls.crt'), 'x'.repeat(10 * count));
      await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(count), WAIT);
    }
  });

  it('one change after the other is told', async () => {
    const volume = linkedVolume();
    const { onChange, watch } = watching([join(volume, 'shown', 'tls.crt')]);
    for (const [count, target] of ['other', 'real', 'other'].entries()) {
      await vi.waitFor(() => expect(watch.isResting).toBe(true), WAIT);
      symlinkSync(target, join(volume, 'new'));
      renameSync(join(volume, 'new'), join(volume, 'live'));
      await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(count + 1), WAIT);
    }
  });

  it('a file that was missing is told when it comes, with its directories', async () => {
    const volume = directory();
    const file = join(volume, 'not', 'yet', 'tls.crt');
    const { onChange, watch } = watching([file]);
    await vi.waitFor(() => expect(watch.isResting).toBe(true), WAIT);
    mkdirSync(join(volume, 'not', 'yet'), { recursive: true });
    await vi.waitFor(() => expect(watch.isResting).toBe(true), WAIT);
    writeFileSync(file, 'text');
    await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(1), WAIT);
  });

  it('what happens to its neighbours lets it rest', async () => {
    const volume = linkedVolume();
    const { onChange, watch } = watching([join(volume, 'shown', 'tls.crt')]);
    await vi.waitFor(() => expect(watch.isResting).toBe(true), WAIT);
    const neighbour = join(volume, 'real', 'pgtls.log');
    const told = vi.fn();
    const other = new FileEvents([neighbour], told);
    onTestFinished(() => other.close());
    await other.cover();
    writeFileSync(neighbour, 'a line');
    await vi.waitFor(() => expect(told).toHaveBeenCalled(), WAIT);
    expect(watch.isResting).toBe(true);
    expect(onChange).not.toHaveBeenCalled();
  });

  it('the way there is known once it has been asked for twice', async () => {
    const file = join(linkedVolume(), 'shown', 'tls.crt');
    const events = new FileEvents([file], () => undefined);
    onTestFinished(() => events.close());
    expect(await events.cover()).toBe('renewed');
    expect(await events.cover()).toBe('covered');
  });
});

it('on a file system whose changes the kernel does not tell, files are looked at', async () => {
  const events = new FileEvents(['/proc/self/status'], () => undefined);
  onTestFinished(() => events.close());
  expect(await events.cover()).toBe('uncertain');
});

describe('files that cannot be used', () => {
  it('are tried again until they can, though nothing changes any more', async () => {
    const file = join(directory(), 'tls.crt');
    writeFileSync(file, '');
    let tries = 0;
    const { onChange } = watching([file], () => ++tries === 4);
    writeFileSync(file, 'text');
    await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(4), WAIT);
  });

  it('by another reader are tried again, though they have not changed and it rests', async () => {
    const file = join(directory(), 'tls.crt');
    writeFileSync(file, 'text');
    const { onChange, watch } = watching([file], () => onChange.mock.calls.length >= 3);
    await vi.waitFor(() => expect(watch.isResting).toBe(true), WAIT);
    watch.tryAgain();
    await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(3), WAIT);
    await vi.waitFor(() => expect(watch.isResting).toBe(true), WAIT);
    expect(onChange).toHaveBeenCalledTimes(3);
  });
});

describe('a watch that was stopped', () => {
  it('tells nothing more', async () => {
    const file = join(directory(), 'tls.crt');
    writeFileSync(file, '');
    const stopped = watching([file]);
    const other = watching([file]);
    stopped.watch.stop();
    writeFileSync(file, 'text');
    await vi.waitFor(() => expect(other.onChange).toHaveBeenCalled(), WAIT);
    expect(stopped.onChange).not.toHaveBeenCalled();
  });
});

describe('the files that are watched', () => {
  const backend = {
    sslmode: 'verify-full' as const,
    sslrootcert: '/b/ca',
    sslcrl: '/b/crl',
    sslcert: '/b/crt',
    sslkey: '/b/key',
  };

  it('are all that a configuration names, each once', () => {
    const proxy = proxyConfig('a', {
      sslCaFile: '/l/ca',
      sslCrlFile: '/l/crl',
      userMapFile: '/l/map',
    });
    const twice = [proxy, proxyConfig('b')].map((one) => ({
      ...one,
      backend: { ...one.backend, ...backend },
    }));
    expect(watchedFiles(toDataPlaneOptions(config(twice), false))).toEqual([
      '/tls/server.crt',
      '/tls/server.key',
      '/l/ca',
      '/l/crl',
      '/l/map',
      '/etc/pgtls/probe.password',
      '/b/ca',
      '/b/crl',
      '/b/crt',
      '/b/key',
    ]);
  });

  it('are none of TLS where there is none, and not the CAs of the system', () => {
    const password = '/etc/pgtls/probe.password';
    const proxy = proxyConfig('a', { sslmode: 'disable' });
    expect(watchedFiles(toDataPlaneOptions(config([proxy]), false))).toEqual([password]);
    const plain = {
      ...proxy,
      backend: { ...proxy.backend, ...backend, sslmode: 'disable' as const },
    };
    expect(watchedFiles(toDataPlaneOptions(config([plain]), false))).toEqual([password]);
  });
});
