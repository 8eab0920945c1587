import { unawaited } from '../../runtime/guard.js';
import { reportFault } from '../../runtime/report-fault.js';
import { CachedCheck } from './cached-check.js';
import type { HealthSettings } from './options.js';
import type { CheckReport, HealthReport } from './report.js';

/** Runs all checks, and tells of changes. */
export class Readiness {
  readonly #checks: readonly (readonly [name: string, check: CachedCheck])[];
  readonly #onChange: HealthSettings['onChange'];
  /** The statuses that `onChange` was called with. */
  #known = '';

  constructor({ checks, onChange }: Pick<HealthSettings, 'checks' | 'onChange'>) {
    this.#checks = [...checks].map(([name, settings]) => [name, new CachedCheck(settings)]);
    this.#onChange = onChange;
  }

  /** Never rejects. At once where every result still holds. */
  read(): HealthReport | Promise<HealthReport> {
    const results = this.#checks.map(([, check]) => check.read());
    const isKnown = results.every((result) => !(result instanceof Promise));
    if (isKnown) return this.#report(results as CheckReport[]);
    return Promise.all(results).then((reports) => this.#report(reports));
  }

  /** Not ready, whatever the checks say. */
  refuse(reason: string): HealthReport {
    return this.#told({ status: 'fail', reason, checks: {} });
  }

  #report(reports: readonly CheckReport[]): HealthReport {
    const checks: Record<string, CheckReport> = Object.create(null);
    for (const [at, [name]] of this.#checks.entries()) checks[name] = reports[at]!;
    const statuses = reports.map(({ status }) => status);
    const status = statuses.includes('fail') ? 'fail' : statuses.includes('warn') ? 'warn' : 'pass';
    return this.#told({ status, checks });
  }

  #told(report: HealthReport): HealthReport {
    if (!this.#onChange) return report;
    const { status, reason = '', checks } = report;
    const now = [status, reason, ...Object.values(checks).map((check) => check.status)].join();
    const isFirstPass = this.#known === '' && status === 'pass';
    if (now === this.#known || isFirstPass) {
      this.#known = now;
      return report;
    }
    this.#known = now;
    try {
      void unawaited(this.#onChange(report), 'health.onChange');
    } catch (error) {
      reportFault('health.onChange', error);
    }
    return report;
  }
}
