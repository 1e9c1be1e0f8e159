import { sourcesOf } from '../merchants/administration.ts';
import type { Merchant } from '../merchants/merchant-store.ts';
import type { Source } from '../merchants/source.ts';
import type { Purpose } from '../payments/purpose.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import { SIMULATED_PROVIDERS, type SimulatedProvider } from '../providers/shared/simulated-event.ts';
import { UsageError } from './command.ts';
import type { CliContext } from './context.ts';
import { giveUp } from './give-up.ts';

/** By which source simulated money comes in, and why it cannot where it cannot. */

export type SimulatedSource = Source & { readonly provider: SimulatedProvider };

/** Made-up webhook secrets, for people who have no account at the provider. */
const TRIAL_SECRETS: Readonly<Record<SimulatedProvider, string>> = {
  stripe: 'whsec_trial',
  dodo: `whsec_${Buffer.from('a secret for trying only').toString('base64')}`,
  razorpay: 'trial-secret',
  paddle: 'pdl_ntfset_trial',
  polar: 'polar_whs_trial',
  lemonsqueezy: 'trial-secret',
  adyen: Buffer.from('a secret that is for trying only').toString('hex'),
  cashfree: 'trial-secret',
};

/**
 * The source of `sourceId`, else that of the environment for the provider (Stripe unless given), else the only stored one of the provider.
 * @throws {GivenUpError} that says what to set or to choose, if nothing can be simulated there
 * @throws {UsageError} if it was asked for wrongly
 */
export async function findSimulatedSource(
  { admin, db }: CliContext,
  { merchantId, mode }: Merchant,
  wanted: { readonly provider: ProviderName | undefined; readonly source: string | undefined },
): Promise<SimulatedSource> {
  if (mode === 'live') {
    const advice = 'Simulated money is for test mode alone; "npx chokin merchants list" shows who is in it.';
    giveUp(`${merchantId} is in live mode. ${advice}`);
  }
  const byName = wanted.provider ?? 'stripe';
  const stored = (await sourcesOf(db, merchantId)).filter(({ provider }) => provider === byName);
  const configured = admin.sources.configured(merchantId).find(({ provider }) => provider === byName);
  const [only, ...others] = stored;
  const byDefault = configured ?? (others.length === 0 ? only : undefined);
  const named = wanted.source ?? byDefault?.sourceId;
  const source = named === undefined ? null : await admin.sources.find(db, merchantId, named);
  const provider = source?.provider ?? byName;
  if (wanted.provider !== undefined && wanted.provider !== provider) {
    throw new UsageError(`--provider: ${wanted.source} is a source of ${provider}`);
  }
  const asked = { provider };
  if (!isSimulated(asked)) return giveUp(NOT_SIMULATED);
  if (source === null || !isSimulated(source)) {
    return giveUp(
      noSource(
        asked.provider,
        wanted.source,
        stored.map((one) => one.sourceId),
      ),
    );
  }
  const { sourceId } = source;
  // The environment of this shell may say so where the merchant's record does not yet.
  if (source.mode === 'live') giveUp(`${sourceId} is in live mode. Simulated money is for test mode alone.`);
  if (!source.enabled) {
    giveUp(`${sourceId} is disabled. Enable it first: npx chokin sources enable ${sourceId}`);
  }
  return source;
}

function isSimulated<One extends { readonly provider: ProviderName }>(
  one: One,
): one is One & { readonly provider: SimulatedProvider } {
  return SIMULATED_PROVIDERS.some((name) => name === one.provider);
}

const NOT_SIMULATED = `Only PayPal can sign its events; send one by PayPal's webhook simulator. What can be simulated is ${SIMULATED_PROVIDERS.join(', ')}.`;

function noSource(provider: SimulatedProvider, sourceId: string | undefined, stored: readonly string[]): string {
  if (sourceId !== undefined && sourceId !== `src_${provider}`) {
    return `There is no source ${sourceId}; "npx chokin sources list" shows them.`;
  }
  const secret = TRIAL_SECRETS[provider];
  const ofDatabase =
    stored.length === 0
      ? `Or store a source, and name it by --source:\nCHOKIN_WEBHOOK_SECRET=${secret} npx chokin sources create --provider ${provider} --name Trial`
      : `Or name a stored one: ${stored.map((one) => `--source ${one}`).join(' or ')}`;
  return [
    `The environment here has no source of ${provider}. Set ${provider.toUpperCase()}_WEBHOOK_SECRET, to the same here and where the`,
    `service runs, and start that again (without an account, ${secret} will do).`,
    ofDatabase,
  ].join('\n');
}

/** The purpose that the metadata has to name; null where the source's default is the same. */
export function purposeFor({ provider, sourceId, metadata, defaultPurpose }: Source, purpose: Purpose): Purpose | null {
  if (defaultPurpose === purpose) return null;
  if (metadata === 'all') return purpose;
  const cure =
    sourceId === `src_${provider}`
      ? `set ${provider.toUpperCase()}_DEFAULT_PURPOSE=${purpose}, here and where the service runs`
      : `npx chokin sources set ${sourceId} --default-purpose ${purpose}`;
  return giveUp(`At ${sourceId} every payment is for ${defaultPurpose}, whatever it says itself: ${cure}`);
}
