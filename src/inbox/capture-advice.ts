import { type ApplyServices, type EventWork, sourceKey } from './event-work.ts';

/** The sources that each process has been advised about. */
const ADVISED = new WeakMap<ApplyServices, Set<string>>();

/**
 * Advises to set `capture: manual`, once for each source and process, where a capture was told at a source whose authorisations
 * count as the money: such an account captures by hand, and what it never captures is credited all the same. Call it after the
 * commit.
 */
export function adviseManualCapture(services: ApplyServices, works: readonly EventWork[]): void {
  for (const work of works) {
    if (work.source?.capture !== 'automatic' || work.verdict.state !== 'applied') continue;
    if (!work.facts.some((fact) => fact.kind === 'movement' && fact.movement === 'capture')) continue;
    const { merchantId, sourceId } = sourceKey(work);
    const advised = ADVISED.get(services) ?? new Set();
    if (advised.has(sourceId)) continue;
    ADVISED.set(services, advised.add(sourceId));
    services.logger.warn(
      { merchantId, sourceId },
      'the account captures by hand, and its source credits what is only authorised: set capture of the source to manual',
    );
  }
}
