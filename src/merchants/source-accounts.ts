import type { Pool } from '../db/pool.ts';
import { autocommit, type Tx, transaction } from '../db/transaction.ts';
import { RefusalError } from '../errors.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import type { Logger } from '../telemetry/log.ts';
import {
  deleteLearntElsewhere,
  deleteShared,
  forgetAccounts,
  insertAccounts,
  selectAccounts,
  selectSharedAccounts,
} from './account-store.ts';
import { isOwnedElsewhere } from './accounts.ts';
import { adoptionsOf } from './adoption-store.ts';
import { askAccount, type ConnectSource, noteFoundAccount } from './api-account.ts';
import type { Source, SourceAccountKind, SourceKey } from './source.ts';
import { refuseAccountOf } from './source-secrets.ts';
import type { SourceDirectory } from './sources.ts';

/** The accounts that an operator names: by the admin routes, the command line or the environment. */

/** Which accounts a source answers for, as an operator says. */
interface AccountsOfSource {
  readonly source: SourceAccountKind;
  readonly accounts: readonly string[];
}

/**
 * Sets the accounts of a source in the place of those that are known; none forgets them, and the next event that names one
 * teaches it anew. The operator's word displaces what another merchant's source learnt from an event.
 * @throws {RefusalError} ACCOUNT_OF_ANOTHER_SOURCE
 */
export async function setAccounts(tx: Tx, { source, accounts }: AccountsOfSource, now: Date): Promise<void> {
  await forgetAccounts(tx, source, { learntFromApi: false, but: accounts });
  await deleteLearntElsewhere(tx, source, accounts);
  // What it only shared it is to own now; a refusal undoes this too.
  await deleteShared(tx, source, accounts);
  const { merchantId, sourceId, provider, mode } = source;
  const wanted = [...new Set(accounts)].map((account) => ({
    ...{ merchantId, sourceId, provider, mode, account },
    learntFrom: 'operator' as const,
    isShared: false,
  }));
  if ((await insertAccounts(tx, wanted, now)) === wanted.length) return;
  const known = await selectAccounts(tx, [], wanted);
  const owner = known.find((one) => isOwnedElsewhere(one, source));
  if (owner !== undefined) refuseAccountOf(owner, source);
}

const MOST_NAMED = 20;

export interface ConfiguredAccounts {
  readonly sources: SourceDirectory;
  /** As the environment names them. */
  readonly accounts: ReadonlyMap<ProviderName, readonly string[]>;
  readonly merchantId: string;
  readonly connect: ConnectSource;
  readonly now: Date;
  readonly logger: Logger;
}

/**
 * Notes the accounts that the environment names and those that its API keys open, and warns of accounts with two sources. A
 * start changes nothing of these: both go on, and each payment belongs to the source that posted it first. A provider that does
 * not answer soon is told of in the log, and asked again by reconciliation.
 */
export async function noteConfiguredAccounts(pool: Pool, options: ConfiguredAccounts): Promise<void> {
  const { sources, accounts, merchantId, now, logger } = options;
  const refused: SharedAccount[] = [];
  const configured = sources.configured(merchantId);
  const adopted = new Set((await adoptionsOf(autocommit(pool), configured)).map(({ sourceId }) => sourceId));
  for (const source of configured) {
    if (adopted.has(source.sourceId)) continue;
    const named = accounts.get(source.provider);
    try {
      if (named !== undefined) await transaction(pool, (tx) => setAccounts(tx, { source, accounts: named }, now));
    } catch (error) {
      if (!(error instanceof RefusalError)) throw error;
      refused.push(...(named ?? []).map((account) => ({ ...source, account })));
    }
    await noteApiAccount(pool, source, options);
  }
  const shared = bySource([...refused, ...(await selectSharedAccounts(autocommit(pool), MOST_NAMED))]);
  if (shared.length === 0) return;
  logger.warn(
    { sources: shared.slice(0, MOST_NAMED) },
    'accounts at a provider have two sources: keep one, and give it the payments of the other (npx chokin sources adopt <old> --into <new>)',
  );
}

type SharedAccount = SourceKey & { readonly account: string };

/** Each source once, with its accounts. */
function bySource(all: readonly SharedAccount[]) {
  const found = Map.groupBy(all, ({ merchantId, sourceId }) => `${merchantId} ${sourceId}`);
  return [...found.values()].flatMap((own) =>
    own.slice(0, 1).map(({ merchantId, sourceId }) => {
      return { merchantId, sourceId, accounts: [...new Set(own.map(({ account }) => account))] };
    }),
  );
}

/** Where another source answers for the account as well, the two are noted as shared. */
async function noteApiAccount(
  pool: Pool,
  source: Source,
  { connect, now, logger }: Pick<ConfiguredAccounts, 'connect' | 'now' | 'logger'>,
): Promise<void> {
  const asked = await askAccount(connect, source);
  if (asked.kind === 'known')
    await transaction(pool, (tx) => noteFoundAccount(tx, { source, account: asked.account }, now));
  if (asked.kind !== 'unknown') return;
  const { sourceId } = source;
  logger.warn({ sourceId, reason: asked.problem }, 'the provider does not say whose account the API key opens');
}

/**
 * Forgets the accounts that API keys told of, where the environment gives none any more: nothing tells now whose such an account
 * is. For the worker alone, which compares with these keys: a web process may be given none.
 */
export async function forgetKeylessAccounts(pool: Pool, sources: SourceDirectory): Promise<void> {
  for (const source of sources.configuredWithoutApi())
    await transaction(pool, (tx) => forgetAccounts(tx, source, { learntFromApi: true, but: [] }));
}
