"""The functions that words of C call, by name; a file holds those that it needs, and none calls another."""

HELPERS = {
    # A sum waits for the one before it: with eight of them side by side a step of lstm-128 takes 13 us in place of 48 to 72
    # (gcc 12 at -O2 and -O3, a busy machine), and no option that lets sums change is needed.
    "dot": """static {real} dot(const {real} *w, const {real} *x, int n) /* eight sums, side by side */
{{
    {real} sum[8] = {{0}};
    int i = 0;
    for (; i + 8 <= n; i += 8) {{
        for (int k = 0; k < 8; ++k) {{
            sum[k] += w[i + k] * x[i + k];
        }}
    }}
    for (; i < n; ++i) {{
        sum[0] += w[i] * x[i];
    }}
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}}""",
    "copy": """static void copy({real} *y, const {real} *x, int n)
{{
    for (int i = 0; i < n; ++i) {{
        y[i] = x[i];
    }}
}}""",
    "zero": """static void zero({real} *y, int n)
{{
    for (int i = 0; i < n; ++i) {{
        y[i] = 0;
    }}
}}""",
    "sigmoid": """static {real} sigmoid({real} x)
{{
    return 1 / (1 + exp{f}(-x));
}}""",
    "softplus": """static {real} softplus({real} x) /* ln(1 + e^x) */
{{
    return x > 0 ? x + log1p{f}(exp{f}(-x)) : log1p{f}(exp{f}(x));
}}""",
    "relu": """static {real} relu({real} x) /* NaN stays NaN */
{{
    return x < 0 ? 0 : x;
}}""",
    "maximum": """static {real} maximum({real} a, {real} b) /* NaN stays NaN */
{{
    return a > b || a != a ? a : b;
}}""",
    "minimum": """static {real} minimum({real} a, {real} b) /* NaN stays NaN */
{{
    return a < b || a != a ? a : b;
}}""",
    "softmax": """static void softmax({real} *y, int n) /* y = exp(y) / sum(exp(y)) */
{{
    {real} largest = y[0], sum = 0;
    for (int i = 1; i < n; ++i) {{
        largest = y[i] > largest ? y[i] : largest;
    }}
    for (int i = 0; i < n; ++i) {{
        y[i] = exp{f}(y[i] - largest);
        sum += y[i];
    }}
    for (int i = 0; i < n; ++i) {{
        y[i] /= sum;
    }}
}}""",
    "log_softmax": """static void log_softmax({real} *y, int n) /* y = y - ln(sum(exp(y))) */
{{
    {real} largest = y[0], sum = 0;
    for (int i = 1; i < n; ++i) {{
        largest = y[i] > largest ? y[i] : largest;
    }}
    for (int i = 0; i < n; ++i) {{
        y[i] -= largest;
        sum += exp{f}(y[i]);
    }}
    for (int i = 0; i < n; ++i) {{
        y[i] -= log{f}(sum);
    }}
}}""",
    "cross_entropy": """static {real} cross_entropy(const {real} *x, int n, int token) /* -ln softmax(x)[token] */
{{
    {real} largest = x[0], sum = 0;
    for (int i = 1; i < n; ++i) {{
        largest = x[i] > largest ? x[i] : largest;
    }}
    for (int i = 0; i < n; ++i) {{
        sum += exp{f}(x[i] - largest);
    }}
    return log{f}(sum) - (x[token] - largest);
}}""",
}
