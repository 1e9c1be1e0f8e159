import { randomBytes } from 'node:crypto';
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

/** A made-up webhook secret, another one each time, for people who have no account at the provider. */
function trialSecret(provider: SimulatedProvider): string {
  const bytes = randomBytes(24);
  if (provider === 'dodo') return `whsec_${bytes.toString('base64')}`;
  if (provider === 'adyen') return bytes.toString('hex');
  const prefixes = { stripe: 'whsec_', paddle: 'pdl_ntfset_', polar: 'polar_whs_' };
  const prefix = provider === 'stripe' || provider === 'paddle' || provider === 'polar' ? prefixes[provider] : '';
  return `${prefix}trial_${bytes.toString('hex')}`;
}

type Wanted = { readonly provider: ProviderName | undefined; readonly source: string | undefined };

/**
 * The source of `wanted.source`. Else one of the provider: that of the environment, or the only stored one. Without a provider it is
 * Stripe, if that has a source; else the only source there is.
 * @throws {GivenUpError} that says what to set or to choose, if nothing can be simulated there
 * @throws {UsageError} if it was asked for wrongly
 */
export async function findSimulatedSource(
  { admin, db }: CliContext,
  { merchantId, mode }: Merchant,
  wanted: Wanted,
): Promise<SimulatedSource> {
  if (mode === 'live') {
    const advice = 'Simulated money is for test mode alone; "npx chokin merchants list" shows who is in it.';
    giveUp(`${merchantId} is in live mode. ${advice}`);
  }
  const stored = await sourcesOf(db, merchantId);
  const named = wanted.source ?? sourceByProvider(wanted.provider, stored, admin.sources.configured(merchantId));
  const source = await admin.sources.find(db, merchantId, named);
  if (wanted.provider !== undefined && source !== null && wanted.provider !== source.provider) {
    throw new UsageError(`--provider: ${named} is a source of ${source.provider}`);
  }
  if (source === null) return giveUp(noSuchSource(named));
  if (!isSimulated(source)) return giveUp(NOT_SIMULATED);
  const { sourceId } = source;
  // The environment of this shell may say so where the merchant's record does not yet.
  if (source.mode === 'live') giveUp(`${sourceId} is in live mode. Simulated money is for test mode alone.`);
  if (!source.enabled) {
    giveUp(`${sourceId} is disabled. Enable it first: npx chokin sources enable ${sourceId}`);
  }
  return source;
}

interface Choice {
  readonly sourceId: string;
  readonly provider: ProviderName;
}

/** @throws {GivenUpError} that says what to choose or to make, unless exactly one is meant */
function sourceByProvider(
  wanted: ProviderName | undefined,
  stored: readonly Choice[],
  configured: readonly Choice[],
): string {
  const all = [...configured, ...stored].filter(isSimulated);
  const provider = SIMULATED_PROVIDERS.find((name) => name === (wanted ?? 'stripe'));
  if (provider === undefined) return giveUp(NOT_SIMULATED);
  const isOfProvider = (one: Choice) => one.provider === provider;
  const ofEnvironment = configured.find(isOfProvider);
  if (ofEnvironment !== undefined) return ofEnvironment.sourceId;
  const choices = wanted === undefined && !all.some(isOfProvider) ? all : stored.filter(isOfProvider);
  const [only, ...others] = choices;
  if (only === undefined) return giveUp(noSource(provider));
  if (others.length === 0) return only.sourceId;
  const count = choices.length === 2 ? 'two' : choices.length;
  const list = choices.map((one) => `--source ${one.sourceId}  (${one.provider})`).join('\n');
  return giveUp(`There are ${count} sources that could be meant. Choose one of them by --source:\n${list}`);
}

function isSimulated<One extends { readonly provider: ProviderName }>(
  one: One,
): one is One & { readonly provider: SimulatedProvider } {
  return SIMULATED_PROVIDERS.some((name) => name === one.provider);
}

const NOT_SIMULATED = `Only PayPal can sign its events; send one by PayPal's webhook simulator. What can be simulated is ${SIMULATED_PROVIDERS.join(', ')}.`;

function noSuchSource(sourceId: string): string {
  const provider = SIMULATED_PROVIDERS.find((name) => sourceId === `src_${name}`);
  if (provider === undefined) return `There is no source ${sourceId}; "npx chokin sources list" shows them.`;
  return `${sourceId} is a source of the environment, and is not set here: ${howToSet(provider)}`;
}

function noSource(provider: SimulatedProvider): string {
  return [
    `There is no source of ${provider} here. Store one; without an account, by a secret that is made up:`,
    `CHOKIN_WEBHOOK_SECRET=${trialSecret(provider)} npx chokin sources create --provider ${provider} --name Trial`,
    `If it is one of the environment: ${howToSet(provider)}`,
  ].join('\n');
}

function howToSet(provider: SimulatedProvider): string {
  return `set ${provider.toUpperCase()}_WEBHOOK_SECRET, to the same here and where the service runs, and restart that.`;
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
