# Presses the completion key in a zsh of its own and waits for what it must show, until the caller's patience ends:
#   timeout 20 zsh -f complete.zsh FOLDER_OF_SCRIPTS LINE PATTERN
zmodload zsh/zpty
zpty shell 'PS1= TERM=dumb zsh -f -i'
zpty -w shell "fpath=(${(q)1} \$fpath); autoload -Uz compinit; compinit -u -D; bindkey '^I' list-choices; echo rea''dy"
zpty -r -m shell shown '*ready*' || exit 1
zpty -w -n shell "$2"$'\t'
zpty -r -m shell shown "*$2*$3*" || exit 1
zpty -d shell
