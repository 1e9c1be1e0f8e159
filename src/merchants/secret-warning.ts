import type { Logger } from '../telemetry/log.ts';
import type { SourceKey } from './source.ts';
import type { FindingServices } from './source-findings.ts';
import { type HashOwner, hashesOf, type SealedSecret, selectSealedPage } from './source-secret-store.ts';

/** Few secrets a page, since decrypting one holds up whatever else the process does. */
const PAGE_SIZE = 500;
/** So that the hashes to compare stay below some 30 MB. */
const MOST_READ = 100_000;
const MOST_NAMED = 20;

interface SecretFinding extends SourceKey {
  readonly kind: 'shared_webhook_secret' | 'unreadable_secret';
  readonly secretId?: string;
}

/**
 * Warns, in one line of the log, of webhook secrets of every merchant that are shared or cannot be read; of accounts another
 * warns. For the worker, once it works: every stored secret is decrypted, page by page, the first {@link MOST_READ}. Never throws.
 */
export async function warnOfSecrets(
  services: FindingServices,
  { logger, signal }: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<void> {
  try {
    const { read, found } = await findProblems(services, signal);
    if (found.length === 0 || signal.aborted) return;
    logger.warn(
      { total: found.length, read, findings: found.slice(0, MOST_NAMED) },
      'secrets of sources are shared or cannot be read: npx chokin sources list says what helps',
    );
  } catch (error) {
    if (!signal.aborted) logger.warn({ err: error }, 'the secrets of sources could not be checked at this start');
  }
}

async function findProblems({ db, box, sources }: FindingServices, signal: AbortSignal) {
  const shared = new SharedSecrets();
  for (const one of sources.webhookSecretHashes(box)) shared.add(one);
  const unreadable: SecretFinding[] = [];
  let after: SealedSecret | null = null;
  let read = 0;
  do {
    const page: readonly SealedSecret[] = await selectSealedPage(db, after, PAGE_SIZE);
    for (const secret of page) {
      const { merchantId, sourceId, secretId, purpose } = secret;
      const hashes = hashesOf(box, secret);
      if (hashes === null) unreadable.push({ merchantId, sourceId, secretId, kind: 'unreadable_secret' });
      else if (purpose === 'webhook') for (const keyedHash of hashes) shared.add({ ...secret, keyedHash });
    }
    read += page.length;
    after = page.length < PAGE_SIZE ? null : (page.at(-1) ?? null);
  } while (after !== null && read < MOST_READ && !signal.aborted);
  return { read, found: [...shared.found(), ...unreadable] };
}

/** The sources, each once, whose webhook secret another of the same provider and mode has. */
class SharedSecrets {
  readonly #firsts = new Map<string, SourceKey>();
  readonly #found = new Map<string, SecretFinding>();

  add({ merchantId, sourceId, provider, mode, keyedHash }: HashOwner): void {
    const hash = `${provider} ${mode} ${keyedHash.toString('base64')}`;
    const first = this.#firsts.get(hash);
    if (first === undefined) this.#firsts.set(hash, { merchantId, sourceId });
    else if (first.merchantId !== merchantId || first.sourceId !== sourceId)
      for (const one of [first, { merchantId, sourceId }])
        this.#found.set(`${one.merchantId} ${one.sourceId}`, { ...one, kind: 'shared_webhook_secret' });
  }

  found(): readonly SecretFinding[] {
    return [...this.#found.values()];
  }
}
