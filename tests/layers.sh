#!/bin/sh
# The rules of the house, enforced on the tree this script stands in. Prints every breach; exit status 1 when there is one.
# tests/program/test_layers.c plants a breach of each rule in a copy and sees it refused.
set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1

missing=$(find src analysis include tests plots fixtures -maxdepth 2 -type d \
    ! -path include ! -path 'fixtures/*/*' | while read -r folder; do
    case $(echo "$folder"/*) in
    "$folder/*") ;; # an empty folder
    *) [ -f "$folder/README.md" ] || echo "$folder: has no README.md" ;;
    esac
done)

breaches=$(find src analysis include tests -name '*.[ch]' -o -name '*.inc' | sort | awk '
BEGIN {
    # 1. room -> level: a room includes public headers of lower levels and its own; `verify` may also use `run`.
    split("base 0 num 1 io 1 ranks 1 spectra 1 stats 1 delta 2 model 3 run 4 train 5 verify 6 measure 7 claims 7 study 8 report 8 analysis 9", words, " ")
    for (i = 1; i in words; i += 2) level[words[i]] = words[i + 1] + 0
    # folders of the program, the same way
    split("cli 0 bench 1 report 1 commands 2", words, " ")
    for (i = 1; i in words; i += 2) folder_level[words[i]] = words[i + 1] + 0
    # The steps of a report run commands.
    may["analysis/report/steps.c commands"] = 1
    # 6. start of a system header -> the only rooms that may include it
    owners["cblas.h"] = "num"
    owners["lapacke.h"] = owners["arb.h"] = owners["acb"] = owners["arf"] = owners["mag.h"] = "spectra"
    owners["flint/"] = owners["gmp.h"] = "spectra"
    owners["gsl/"] = "stats"
    owners["pcre2.h"] = owners["zlib.h"] = owners["uninorm.h"] = "io"
    owners["zip.h"] = "io report"
    owners["openssl/"] = "io claims"
    owners["mpi.h"] = "ranks"
    owners["jansson.h"] = "io model run verify train measure claims study report analysis"
    # 4. who may name a residual rule: the rules, their list and its door, the reader of specifications, the second computation of
    # the model, what an inspection says of the delta rule alone, the table of published losses, and the backbone of the same name
    split("src/model/rule.c src/model/spec.c src/model/config.c include/deltascope/model.h src/verify/verify.c " \
          "src/verify/plain_model.c src/measure/inspection_notes.c src/measure/published_losses.c " \
          "src/model/backbone_ddl.c", words, " ")
    for (i = 1; i in words; i++) names_rules[words[i]] = 1
    # 3. what reads token ids without being a loop over windows of a run
    reads_tokens["src/run/windows.c"] = reads_tokens["analysis/commands/tokenize.c"] = 1
}

function breach(text) { print file ":" FNR_ ": " text }

# A line without comments and with empty string literals; `inside` remembers an open comment.
function code_of(line,   out, at, rest) {
    out = ""
    while (1) {
        if (inside) {
            at = index(line, "*/")
            if (!at) return out
            line = substr(line, at + 2)
            inside = 0
        }
        if (!match(line, /["\047]|\/[*\/]/)) return out line
        rest = substr(line, RSTART)
        out = out substr(line, 1, RSTART - 1)
        if (substr(rest, 1, 2) == "//") return out
        if (substr(rest, 1, 2) == "/*") {
            inside = 1
            line = substr(rest, 3)
        } else if (match(rest, /^"([^"\\]|\\.)*"/) || match(rest, /^\047([^\047\\]|\\.)*\047/)) {
            out = out "\"\""
            line = substr(rest, RLENGTH + 1)
        } else {
            return out
        }
    }
}

function word(text, name) { return text ~ ("(^|[^A-Za-z0-9_])(" name ")([^A-Za-z0-9_]|$)") }

function calls(text, name) { return text ~ ("(^|[^A-Za-z0-9_])(" name ") *\\(") }

function check_include(text,   header, target, parts, n, pattern, own, unit, stem_) {
    if (!match(text, /[<"][^>"]*[>"]/)) return
    own = substr(text, RSTART, 1) == "\""
    header = substr(text, RSTART + 1, RLENGTH - 2)
    unit = room == "analysis" ? dir : room
    if (!own) {
        for (pattern in owners)
            if (index(header, pattern) == 1) {
                if (!index(" " owners[pattern] " ", " " room " ")) breach("only " owners[pattern] " may include " header)
                if (pattern == "mpi.h" && mpi != "") breach("mpi.h is included by " mpi " already")
                if (pattern == "mpi.h" && room == "ranks") mpi = file
            }
        return
    }
    if (index(header, "deltascope/") == 1) {
        target = substr(header, 12)
        if (index(target, "measure/") == 1) {
            stem_ = substr(target, 9)
            sub(/\..*/, "", stem_)
            if (room == "measure") edge[room " " stem " " stem_] = 1
            target = "measure"
        }
        sub(/\.(h|inc)$/, "", target)
        if (target == "gradient") target = "model"
        if (target == "activity") target = "base"
        if (target == "measure" || target in level) {
            if (target != room && !(level[target] < level[room])) breach(room " may not include " header)
        }
        return
    }
    if (header ~ /^rule_/ && file !~ /^src\/model\/rule/) breach("4: private header of a residual rule: " header)
    n = split(header, parts, "/")
    if (n == 1) {
        if (!((dir "/" header) in exists)) breach(header " is not a private header of " dir)
        sub(/\..*/, "", header)
        edge[unit " " stem " " header] = 1
    } else if (room == "analysis" && n == 2 && ("analysis/" header) in exists) {
        if (parts[1] != folder && !(folder_level[parts[1]] < folder_level[folder]) && !((file " " parts[1]) in may))
            breach(dir " may not include " header)
        sub(/\..*/, "", parts[2])
        if (parts[1] == folder) edge[unit " " stem " " parts[2]] = 1
    } else {
        breach(header " is not a private header of " dir)
    }
}

function check_code(code, line) {
    if (file ~ /^src\//) {
        if (calls(code, "exit|_exit|_Exit|quick_exit") ||
            (calls(code, "abort") && !(file == "src/base/status.c" && function_name == "ds_give_up")))
            breach("2: the library never ends the process")
        if (word(code, "stdout|stderr") || calls(code, "printf|vprintf|puts|putchar|perror"))
            breach("2: the library never writes to standard output or standard error")
    }
    if (room == "measure") {
        if (word(code, "ds_option|ds_invocation|ds_common|ds_command|argv")) breach("2: a measurement knows no command line")
        if (word(code, "FILE") || calls(code, "fprintf|vfprintf|fputs|fputc|fwrite")) breach("2: a measurement prints nothing")
    }
    if (level[room] >= level["run"]) {
        if (calls(code, "ds_tokens_read") && !(file in reads_tokens)) breach("3: only src/run/windows.c reads windows of tokens")
        if (code ~ /\+= *[A-Za-z_.>-]*(->|\.)batch([^A-Za-z0-9_]|$)/ && file != "src/run/windows.c")
            breach("3: only src/run/windows.c loops over windows")
        if (room != "run" && code ~ /run[A-Za-z0-9_]*(->|\.)batch *([-+*\/]?=[^=]|=$)/)
            breach("3: nobody changes the batch size of a run")
    }
    if (!(file in names_rules) && file !~ /^src\/model\/rule_/) {
        if (word(code, "ds_rule_additive|ds_rule_delta")) breach("4: names a residual rule")
        if (line ~ /"(additive|ddl)"/ && room != "analysis") breach("4: spells the name of a residual rule")
    }
}

# Lengths: lines in characters (bytes that continue a UTF-8 character are not counted), functions from signature to brace.
function check_length(line, code,   wide, name) {
    wide = line
    gsub(/[\200-\277]/, "", wide)
    if (length(wide) > 128) breach("a line of " length(wide) " columns; at most 128")
    if (line ~ /^[A-Za-z_].*\(/ && line !~ /^(typedef|struct|enum)/) {
        start = FNR_
        name = line
        sub(/\(.*/, "", name)
        sub(/.*[ *]/, "", name)
        function_name = name
    }
    if (line ~ /^}/) {
        if (start && FNR_ - start + 1 > 60 && line !~ /^};/ && line !~ /^} [A-Za-z_]/)
            breach(function_name " has " (FNR_ - start + 1) " lines; at most 60")
        start = 0
    }
}

function begin_file(   parts, n) {
    inside = start = FNR_ = 0
    function_name = ""
    n = split(file, parts, "/")
    dir = file
    sub(/\/[^\/]*$/, "", dir)
    stem = parts[n]
    sub(/\..*/, "", stem)
    folder = parts[2]
    room = parts[1] == "src" ? parts[2] : parts[1]
    if (parts[1] == "include") {
        room = n == 4 ? parts[3] : stem
        if (room == "gradient") room = "model"
        if (room == "activity") room = "base"
    }
}

# Cycles: what neither an entry nor a leaf is, after taking those away again and again.
function check_cycles(   key, parts, changed, out_, in_, room_) {
    for (key in edge) {
        split(key, parts, " ")
        if (parts[2] == parts[3] || (parts[1] " " parts[2] " " parts[3]) in defended) delete edge[key]
    }
    do {
        changed = 0
        for (key in out_) delete out_[key]
        for (key in in_) delete in_[key]
        for (key in edge) {
            split(key, parts, " ")
            out_[parts[1] " " parts[2]] = 1
            in_[parts[1] " " parts[3]] = 1
        }
        for (key in edge) {
            split(key, parts, " ")
            if (!((parts[1] " " parts[3]) in out_) || !((parts[1] " " parts[2]) in in_)) {
                delete edge[key]
                changed = 1
            }
        }
    } while (changed)
    for (key in edge) {
        split(key, parts, " ")
        print (parts[1] ~ /\// ? "" : "src/") parts[1] ": 5: " parts[2] " includes " parts[3] " in a cycle"
    }
}

# A cycle that the README of its room defends, in a line "Allowed cycle: `a`, `b`: why".
function read_defences(room_, path,   line, a, i, j, n) {
    while ((getline line < path) > 0) {
        if (index(line, "Allowed cycle: ") != 1) continue
        sub(/^Allowed cycle: /, "", line)
        sub(/: .*/, "", line)
        gsub(/[`,]/, " ", line)
        n = split(line, a, " ")
        for (i = 1; i <= n; i++) for (j = 1; j <= n; j++) defended[room_ " " a[i] " " a[j]] = 1
    }
    close(path)
}

{
    files[NR] = $0
    exists[$0] = 1
}

END {
    for (f = 1; f <= NR; f++) {
        file = files[f]
        begin_file()
        if (!seen[dir]++ && dir !~ /^(include|tests)/) read_defences(dir ~ /^src/ ? room : dir, dir "/README.md")
        while ((getline line < file) > 0) {
            FNR_++
            code = code_of(line)
            check_length(line, code)
            if (room == "tests") continue
            if (line ~ /^ *# *include/) check_include(line)
            else check_code(code, line)
        }
        if (FNR_ > 600) breach("a file of " FNR_ " lines; at most 600")
        close(file)
    }
    check_cycles()
}')

if [ -n "$missing$breaches" ]; then
    printf '%s\n' "$missing" "$breaches" | grep .
    exit 1
fi
echo "layers: every rule of the house holds"
